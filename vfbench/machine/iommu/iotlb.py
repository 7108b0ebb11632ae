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
def honour_invalidations(cpu: Any, pair: Any) -> None:
    """Drop what the guest or the hypervisor invalidated since the last look."""
    kept = len(cpu.invalidated_iova)
    everything = cpu.invalidations - cpu.invalidations_seen > kept
    for i in range(max(cpu.invalidations_seen, cpu.invalidations - kept), cpu.invalidations):
        iova = cpu.invalidated_iova[i & (kept - 1)]
        everything |= iova == INVALIDATE_ALL
        line = (iova >> PAGE_SHIFT) % pair.nic.iotlb_entries
        if pair.nic.iotlb_iova[line] == iova:
            pair.nic.iotlb_iova[line] = FAULT
    if everything:
        pair.nic.iotlb_iova[:] = FAULT
    cpu.invalidations_seen = cpu.invalidations


@primitive
def walk(cpu: Any, pair: Any, slot: int, iova_page: int, access: int) -> int:
    """Look ``iova_page`` up in the guest's table and keep the translation; FAULT where access is not granted."""
    if not covers(cpu, iova_page):
        return FAULT
    entry = model_load(cpu, entry_address(cpu, slot, iova_page))
    if entry & access != access:
        return FAULT
    line = (iova_page >> PAGE_SHIFT) % pair.nic.iotlb_entries
    pair.nic.iotlb_iova[line] = iova_page
    pair.nic.iotlb_page[line] = entry & (PAGE_MASK | ACCESS_MASK)
    pair.oracle.iotlb_misses += 1
    return entry & PAGE_MASK


@kernel
def translate_by_table(cpu: Any, pair: Any, slot: int, iova: int, access: int) -> int:
    """The guest-physical address behind ``iova`` for READ or WRITE access, or FAULT."""
    if cpu.invalidations != cpu.invalidations_seen:
        honour_invalidations(cpu, pair)
    iova_page = iova & PAGE_MASK
    line = (iova_page >> PAGE_SHIFT) % pair.nic.iotlb_entries
    if pair.nic.iotlb_iova[line] == iova_page and pair.nic.iotlb_page[line] & access == access:
        return (pair.nic.iotlb_page[line] & PAGE_MASK) | (iova & (PAGE_BYTES - 1))
    page = walk(cpu, pair, slot, iova_page, access)
    return page if page == FAULT else page | (iova & (PAGE_BYTES - 1))


@kernel
def pass_physical_iommu(pair: Any, address: int) -> None:
    """Guest-physical addresses are mapped for good; what is not in the IOTLB is looked up."""
    if pair.nic.host_page_shift == 0:
        return
    entry = address >> pair.nic.host_page_shift
    line = entry % pair.nic.iotlb_entries
    if pair.nic.iotlb_iova[line] != entry:
        pair.nic.iotlb_iova[line] = entry
        pair.oracle.iotlb_misses += 1


@primitive
def translate(cpu: Any, pair: Any, iova: int, access: int) -> int:
    """Where the device's access to ``iova`` goes in guest-physical memory, or FAULT."""
    if cpu.translate == NO_KERNEL:
        pass_physical_iommu(pair, iova)
        return iova
    return call_hook(cpu.translate, cpu, pair, cpu.translate_slot, iova, access)


@primitive
def is_packet_memory(cpu: Any, address: int) -> bool:
    """Whether ``address`` lies in the queue's packet memory or a mechanism's pool: elsewhere it is a DMA fault."""
    return cpu.first_page <= address < cpu.dma_end
