"""Dummy writes: the driver rewrites a byte of what the device wrote, so that the page shows in KVM's dirty log.

What a dummy write marks is a page, and a page of the ring holds 256 descriptors: it also carries neighbours that the
device has written back and whose buffers nobody has written yet.

Source: Lan Tianyu, linux-pci, 21 October 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.kernels import Kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.cpu import dummy_write, load, word
from vfbench.machine.vf.descriptors import DESCRIPTOR_BYTES
from vfbench.mechanism import Mechanism, Trait, hook

ATOMIC = 0


@hook
def rewrite_first_byte(cpu: Any, slot: int, iova: int, address: int, length_bytes: int) -> None:
    """The first byte: the driver reads the header anyway."""
    dummy_write(cpu, address, word(cpu, slot, ATOMIC), True)


@hook
def rewrite_last_byte(cpu: Any, slot: int, iova: int, address: int, length_bytes: int) -> None:
    """The last byte of the packet: proof that all of it is there, at the price of another line."""
    dummy_write(cpu, address + length_bytes - 1, word(cpu, slot, ATOMIC), length_bytes <= 64)


@hook
def rewrite_both_ends(cpu: Any, slot: int, iova: int, address: int, length_bytes: int) -> None:
    rewrite_first_byte(cpu, slot, iova, address, length_bytes)
    rewrite_last_byte(cpu, slot, iova, address, length_bytes)


@hook
def rewrite_descriptor(cpu: Any, slot: int, descriptor: int, length_bytes: int) -> None:
    """A descriptor's first line has just been read."""
    dummy_write(cpu, descriptor, word(cpu, slot, ATOMIC), True)


@hook
def rewrite_descriptor_and_next_buffer(cpu: Any, slot: int, descriptor: int, length_bytes: int) -> None:
    """The descriptor, and ahead of time the buffer whose turn is next: the device may be writing it (fault 7)."""
    rewrite_descriptor(cpu, slot, descriptor, length_bytes)
    offset = descriptor - cpu.rx_ring
    ring_bytes = cpu.rx_size * DESCRIPTOR_BYTES
    if 0 <= offset < ring_bytes:
        next_buffer = load(cpu, cpu.rx_buffers + ((offset + DESCRIPTOR_BYTES) & (ring_bytes - 1)))
        if next_buffer != 0:
            dummy_write(cpu, next_buffer, word(cpu, slot, ATOMIC), False)


BYTES = {"first": rewrite_first_byte, "last": rewrite_last_byte, "both": rewrite_both_ends}


@dataclass(frozen=True)
class DummyWrites(Mechanism):
    """One byte of each packet, and of each descriptor, is read and written back."""

    name: ClassVar[str] = "dummy-writes"
    demands: ClassVar[tuple[str, ...]] = ("guest-driver",)

    byte: str = "first"
    """Which bytes of a packet: one of BYTES."""
    descriptors: bool = True
    atomic: bool = False
    """Read and write in one locked instruction."""
    ahead: bool = False
    """Also rewrite the next buffer while the device may write it."""
    when: str = "synced"
    """``synced``: when the buffer is back from the device; ``given``: already when it is given to it (fault 2)."""

    @property
    def sync_for_cpu(self) -> Kernel | None:  # type: ignore[override]
        return BYTES[self.byte] if self.when == "synced" else None

    @property
    def sync_for_device(self) -> Kernel | None:  # type: ignore[override]
        return BYTES[self.byte] if self.when == "given" else None

    @property
    def descriptor_done(self) -> Kernel | None:  # type: ignore[override]
        if not self.descriptors:
            return None
        return rewrite_descriptor_and_next_buffer if self.ahead else rewrite_descriptor

    @property
    def words(self) -> tuple[int, ...]:
        return (int(self.atomic),)

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "guest-store"}

    @property
    def faults(self) -> tuple[int, ...]:
        switched_on = {2: self.when == "given", 7: self.ahead and not self.atomic}
        return tuple(number for number, on in switched_on.items() if on)

    def linux(self) -> LinuxGuest:
        refused = []
        if self.descriptors:
            refused.append(
                "dummy writes to descriptors: an XDP program sees packets only; the ring pages are copied at the stop"
            )
        if self.atomic:
            refused.append(
                "a locked dummy write: a BPF program's atomic operations do not reach packet memory"
            )
        if self.ahead or self.when == "given":
            refused.append(
                "a dummy write before the packet is there: XDP runs when the driver has taken it back"
            )
        if self.byte != "first":
            refused.append(f"the {self.byte} byte: ixgbevf shows an XDP program the first page of a packet")
        return LinuxGuest(xdp="write", copies_rings=True, refusals=tuple(refused))
