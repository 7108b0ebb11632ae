"""The machine's VF and vhost worker on the memory of a real VM: their primitives for records of type ``HOST``.

A host thread reads and writes guest memory through this process's mapping. What the VF writes does not show in the
kernel's dirty log, just as DMA does not; nor do vhost's stores, so it keeps a log of its own as vhost does
(``vhost_log_write``), which the migration reads with KVM's. Stores of what the guest watches are single instructions
that the compiler does not move: a payload lands before the descriptor that announces it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vfbench.kernels import Kernel, kernel
from vfbench.machine import hooks
from vfbench.machine.iommu import iotlb
from vfbench.machine.memory.faults import check_address
from vfbench.machine.memory.guest_memory import PAGE_SHIFT
from vfbench.machine.oracle import oracle
from vfbench.machine.sides import HOST, implementation
from vfbench.machine.vf import device as vf
from vfbench.machine.vf import dma
from vfbench.machine.virtio import vhost
from vfbench.machine.virtio.virtqueue import passes, used_event
from vfbench.testbeds.kvm.guest.payload import holds_sent_frame, write_payload
from vfbench.testbeds.kvm.sys.raw_memory import (
    fence,
    load_i64,
    load_u16,
    load_u32,
    store_i64,
    store_u8,
    store_u16,
    store_u32,
)

# The device's translation and what mechanisms do at its writes are the model's: they read the guest's memory through
# the record's `words`.
for _same in (iotlb.walk, iotlb.translate, iotlb.is_packet_memory, hooks.dma_written):
    implementation(_same, HOST)(_same)
for _same in (vf.send_frame, vhost.vhost_receive_one, vhost.vhost_send_one):
    implementation(_same, HOST)(_same)


def on_host(stub: Kernel) -> Callable[[Kernel], Kernel]:
    """Makes a kernel of the function that is what ``stub`` of the machine means for a record of type ``HOST``."""

    def register(function: Kernel) -> Kernel:
        return kernel(implementation(stub, HOST)(function))

    return register


@on_host(oracle.mark_device_write)
def note_device_write(host: Any, address: int) -> None:
    """The observer remembers the page; the dirty log does not see the write."""
    store_u8(host.device_wrote + (address >> PAGE_SHIFT), 1)
    store_u8(host.mapped_written + (address >> PAGE_SHIFT), 1)


@on_host(oracle.write_content)
def write_packet(host: Any, address: int, length_bytes: int, sequence: int, time_ps: int) -> None:
    """DMA: every byte of packet ``sequence`` at guest-physical ``address``."""
    write_payload(host.memory + address, length_bytes, host.seed, sequence)
    note_device_write(host, address)


@on_host(vf.frame_is_whole)
def sent_frame_is_whole(host: Any, address: int, length_bytes: int, first: int) -> bool:
    """Whether every byte of a frame to send is of the frame that its first word names."""
    return holds_sent_frame(host.memory + address, length_bytes, first)


@on_host(dma.dma_load)
def load_structure_word(host: Any, address: int) -> int:
    """The device reads a word of a structure."""
    check_address(host, address)
    return load_i64(host.memory + address)


@on_host(dma.dma_store)
def store_structure_word(host: Any, address: int, value: int, time_ps: int) -> None:
    """The device writes a word of a structure."""
    check_address(host, address)
    store_i64(host.memory + address, value)
    note_device_write(host, address)


@on_host(dma.write_back_descriptor)
def write_back_rx_descriptor(host: Any, address: int, status: int, time_ps: int) -> None:
    """Both words of a receive descriptor, status last."""
    check_address(host, address)
    store_i64(host.memory + address, 0)
    store_i64(host.memory + address + 8, status)
    note_device_write(host, address)


# -- vhost


@on_host(vhost.log_write)
def log_write(host: Any, pair: Any, address: int) -> None:
    """After the write: a page that is logged holds it."""
    note_device_write(host, address)
    store_u8(host.logged + (address >> PAGE_SHIFT), 1)


@on_host(vhost.host_load)
def load_ring(host: Any, address: int, bits: int) -> int:
    """A field of a ring, of 16 or 32 bits."""
    return load_u16(host.memory + address) if bits == 16 else load_u32(host.memory + address)


@on_host(vhost.host_store)
def store_ring(host: Any, pair: Any, address: int, bits: int, value: int) -> None:
    """A field of a ring, of 16 or 32 bits, and no byte beside it: the guest writes there at the same time."""
    if bits == 16:
        store_u16(host.memory + address, value)
    else:
        store_u32(host.memory + address, value)
    log_write(host, pair, address)


@on_host(vhost.store_used_element)
def store_element(host: Any, pair: Any, entry: int, slot: int, length_bytes: int) -> None:
    """Both fields of an element of the used ring."""
    store_ring(host, pair, entry, 32, slot)
    store_ring(host, pair, entry + 4, 32, length_bytes)


@on_host(vhost.wants_interrupt)
def wants_ring_interrupt(host: Any, queue: int, used: int) -> bool:
    """Whether the driver asked for an interrupt at the buffer that made ``used`` of them; it reads what was stored."""
    fence()
    return passes(load_u16(host.memory + used_event(queue, host.virtqueue_size)), used, used - 1)
