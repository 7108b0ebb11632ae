"""The device's address translation: an IOTLB in front of the guest's IOMMU table, or of the host's own.

The IOTLB keeps a translation until it is invalidated: that is what makes an early unmap dangerous. Without an IOMMU in
the guest the physical one is still there: VFIO maps all guest memory through it, in entries of the size in which the
host backs it (``vfio_pin_map_dma``, drivers/vfio/vfio_iommu_type1.c).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import NO_KERNEL, call_hook, kernel
from vfbench.machine.cpu import model_load
from vfbench.machine.host import INVALIDATE_ALL
from vfbench.machine.iommu.table import ACCESS_MASK, PAGE_MASK, covers, entry_address
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.machine.sides import primitive

FAULT = -1


@kernel
def honour_invalidations(cpu: Any, port: Any) -> None:
    """Drop what the guest or the hypervisor invalidated since the last look."""
    kept = len(cpu.invalidated_iova)
    everything = cpu.invalidations - cpu.invalidations_seen > kept
    for i in range(max(cpu.invalidations_seen, cpu.invalidations - kept), cpu.invalidations):
        iova = cpu.invalidated_iova[i & (kept - 1)]
        everything |= iova == INVALIDATE_ALL
        line = (iova >> PAGE_SHIFT) % port.iotlb_entries
        if port.iotlb_iova[line] == iova:
            port.iotlb_iova[line] = FAULT
    if everything:
        port.iotlb_iova[:] = FAULT
    cpu.invalidations_seen = cpu.invalidations


@primitive
def walk(cpu: Any, port: Any, slot: int, iova_page: int, access: int) -> int:
    """Look ``iova_page`` up in the guest's table and keep the translation; FAULT where access is not granted."""
    if not covers(cpu, iova_page):
        return FAULT
    entry = model_load(cpu, entry_address(cpu, slot, iova_page))
    if entry & access != access:
        return FAULT
    line = (iova_page >> PAGE_SHIFT) % port.iotlb_entries
    port.iotlb_iova[line] = iova_page
    port.iotlb_page[line] = entry & (PAGE_MASK | ACCESS_MASK)
    port.iotlb_misses += 1
    return entry & PAGE_MASK


@kernel
def translate_by_table(cpu: Any, port: Any, slot: int, iova: int, access: int) -> int:
    """The guest-physical address behind ``iova`` for READ or WRITE access, or FAULT."""
    if cpu.invalidations != cpu.invalidations_seen:
        honour_invalidations(cpu, port)
    iova_page = iova & PAGE_MASK
    line = (iova_page >> PAGE_SHIFT) % port.iotlb_entries
    if port.iotlb_iova[line] == iova_page and port.iotlb_page[line] & access == access:
        return (port.iotlb_page[line] & PAGE_MASK) | (iova & (PAGE_BYTES - 1))
    page = walk(cpu, port, slot, iova_page, access)
    return page if page == FAULT else page | (iova & (PAGE_BYTES - 1))


@kernel
def pass_physical_iommu(port: Any, address: int) -> None:
    """Guest-physical addresses are mapped for good; what is not in the IOTLB is looked up."""
    if port.host_page_shift == 0:
        return
    entry = address >> port.host_page_shift
    line = entry % port.iotlb_entries
    if port.iotlb_iova[line] != entry:
        port.iotlb_iova[line] = entry
        port.iotlb_misses += 1


@primitive
def translate(cpu: Any, port: Any, iova: int, access: int) -> int:
    """Where the device's access to ``iova`` goes in guest-physical memory, or FAULT."""
    if cpu.translate == NO_KERNEL:
        pass_physical_iommu(port, iova)
        return iova
    return call_hook(cpu.translate, cpu, port, cpu.translate_slot, iova, access)


@primitive
def is_packet_memory(cpu: Any, address: int) -> bool:
    """Whether ``address`` lies in the queue's packet memory or a mechanism's pool: elsewhere it is a DMA fault."""
    return cpu.first_page <= address < cpu.dma_end
