"""How the machine's VF reaches the memory of a real guest: its primitives for records of type ``DEVICE``.

Device addresses are looked up in what QEMU maps for the device (DMA_MAP), behind the machine's own IOTLB. Nothing
here shows in QEMU's dirty log, unless the log of another device is shared with this one (``dirty_log``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vfbench.kernels import Kernel, kernel
from vfbench.machine import hooks
from vfbench.machine.iommu import iotlb
from vfbench.machine.iommu.iotlb import FAULT, translate_by_table
from vfbench.machine.iommu.table import ACCESS_MASK, PAGE_MASK, READ, WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word
from vfbench.machine.oracle import oracle
from vfbench.machine.sides import DEVICE as DEVICE_SIDE
from vfbench.machine.sides import implementation
from vfbench.machine.vf import dma as vf
from vfbench.testbeds.qemu.device.capture import write_captured
from vfbench.testbeds.qemu.device.payload import FCS_BYTES, write_frame
from vfbench.testbeds.qemu.device.records import (
    LEDGER_ANSWER,
    LEDGER_FLOW,
    LEDGER_LANDED_PS,
    LEDGER_PLACE,
    LEDGER_WORDS,
    MAPPING_ACCESS,
    MAPPING_BEGIN,
    MAPPING_END,
    MAPPING_OFFSET,
    MAPPING_WORDS,
)

RX_LENGTH_SHIFT = 32


def for_guest_memory(stub: Kernel) -> Callable[[Kernel], Kernel]:
    """Makes a kernel of the function that is what ``stub`` of the machine means for a record of type ``DEVICE``."""

    def register(function: Kernel) -> Kernel:
        return kernel(implementation(stub, DEVICE_SIDE)(function))

    return register


@kernel
def find_mapping(device: Any, iova: int) -> int:
    """Address of the mapping that holds ``iova``, or 0."""
    low, high = 0, device.mapping_count
    while low < high:
        middle = (low + high) >> 1
        if load_word(device.mappings, middle * MAPPING_WORDS + MAPPING_END) <= iova:
            low = middle + 1
        else:
            high = middle
    entry = device.mappings + 8 * MAPPING_WORDS * low
    if low == device.mapping_count or load_word(entry, MAPPING_BEGIN) > iova:
        return 0
    return entry


@kernel
def offset_of(device: Any, iova: int, access: int) -> int:
    """Where in the guest's memory ``iova`` lies, or FAULT where ``access`` is not granted."""
    entry = find_mapping(device, iova)
    if entry == 0 or load_word(entry, MAPPING_ACCESS) & access != access:
        return FAULT
    return load_word(entry, MAPPING_OFFSET) + iova - load_word(entry, MAPPING_BEGIN)


@kernel
def log_page(device: Any, page: int) -> None:
    """Set the page's bit in the log that QEMU takes; a bit set a second time costs a page sent twice, no more."""
    if page << PAGE_SHIFT >= device.high_memory:
        page += device.high_memory_shift >> PAGE_SHIFT
    byte = page >> 3
    if byte < device.dirty_log_bytes:
        store_byte(device.dirty_log, byte, load_byte(device.dirty_log, byte) | 1 << (page & 7))


@for_guest_memory(oracle.mark_device_write)
def mark_page(device: Any, address: int) -> None:
    """We remember the page; QEMU hears of it only through a log that is shared."""
    store_byte(device.device_wrote, address >> PAGE_SHIFT, 1)
    if device.dirty_log != 0:
        log_page(device, address >> PAGE_SHIFT)


@for_guest_memory(vf.dma_load)
def load_device_word(device: Any, iova: int) -> int:
    """A word of a structure at a device address; 0 where nothing is mapped."""
    offset = offset_of(device, iova, READ)
    if offset == FAULT:
        return 0
    return load_word(device.guest_ram + offset, 0)


@for_guest_memory(vf.dma_store)
def store_device_word(device: Any, iova: int, value: int, time_ps: int) -> None:
    """A word of a structure at a device address; nothing happens where nothing is mapped."""
    offset = offset_of(device, iova, WRITE)
    if offset != FAULT:
        store_word(device.guest_ram + offset, 0, value)
        mark_page(device, offset)


@for_guest_memory(vf.write_back_descriptor)
def write_back_rx_descriptor(device: Any, iova: int, status: int, time_ps: int) -> None:
    """Both words of a receive descriptor, status last. The VF strips the FCS, as ixgbevf has it (HLREG0.RXCRCSTRP)."""
    offset = offset_of(device, iova, WRITE)
    if offset == FAULT:
        return
    store_word(device.guest_ram + offset, 0, 0)
    store_word(device.guest_ram + offset, 1, status - (FCS_BYTES << RX_LENGTH_SHIFT))
    mark_page(device, offset)


@for_guest_memory(iotlb.walk)
def look_up(device: Any, pair: Any, slot: int, iova_page: int, access: int) -> int:
    """Fill the IOTLB's slot for ``iova_page`` from what is mapped; FAULT where access is not granted."""
    entry = find_mapping(device, iova_page)
    if entry == 0:
        return FAULT
    granted = load_word(entry, MAPPING_ACCESS) & ACCESS_MASK
    if granted & access != access:
        return FAULT
    page = (load_word(entry, MAPPING_OFFSET) + iova_page - load_word(entry, MAPPING_BEGIN)) & PAGE_MASK
    line = (iova_page >> PAGE_SHIFT) % pair.nic.iotlb_entries
    pair.nic.iotlb_iova[line] = iova_page
    pair.nic.iotlb_page[line] = page | granted
    pair.oracle.iotlb_misses += 1
    return page


@for_guest_memory(iotlb.translate)
def translate_as_mapped(device: Any, pair: Any, iova: int, access: int) -> int:
    """Every access goes through what QEMU maps, whether the guest has an IOMMU or not."""
    return translate_by_table(device, pair, 0, iova, access)


@for_guest_memory(hooks.dma_written)
def no_stall(device: Any, address: int, time_ps: int) -> int:
    """No mechanism of the suite acts in this device."""
    return 0


@for_guest_memory(iotlb.is_packet_memory)
def is_guest_memory(device: Any, address: int) -> bool:
    """A real guest may put a packet wherever it likes."""
    return 0 <= address < device.ram_bytes


@for_guest_memory(oracle.write_content)
def write_packet(device: Any, address: int, length_bytes: int, sequence: int, time_ps: int) -> None:
    """DMA of packet ``sequence`` to the buffer at ``address``; the ledger takes down where and when."""
    entry = device.ledger + 8 * LEDGER_WORDS * (sequence % device.ledger_frames)
    if device.contents_frames != 0:
        write_captured(device, device.guest_ram + address, sequence)
    else:
        flow, answer_bytes = load_word(entry, LEDGER_FLOW), load_word(entry, LEDGER_ANSWER)
        write_frame(device.guest_ram + address, device.headers, length_bytes, sequence, flow, answer_bytes)
    store_word(entry, LEDGER_PLACE, address + 1)
    store_word(entry, LEDGER_LANDED_PS, time_ps)
    mark_page(device, address)
    if (address & (PAGE_BYTES - 1)) + length_bytes > PAGE_BYTES:
        mark_page(device, address + length_bytes - 1)
