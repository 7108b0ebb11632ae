"""The guest's application: takes packets from its socket, keeps each for a while, reads it, lets it go.

What it keeps pins packet memory, and so decides whether the driver may use a page again.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import APP_PACKET, RX_RELEASE
from vfbench.machine.cpu import load_field, now_ps, spend, store_field
from vfbench.machine.driver.state import HELD_ENTRY_BYTES, HELD_HEAD, HELD_PACKETS, HELD_TAIL
from vfbench.machine.memory.page_pool import release_page
from vfbench.machine.oracle.oracle import note_consumed, note_handed_over, note_socket_full
from vfbench.machine.oracle.parts import begin_reading, end_reading, read_part
from vfbench.machine.sides import GUEST, implementation, primitive

LENGTH_SHIFT = 48
MERGED = 1
"""In a packet's address, which is a multiple of 512: GRO joined it to another, and it is let go with that one's skb."""
CONTINUES = 2
"""Beside it: the packet began in the entry before."""
IN_PARTS = 4
"""In each entry of a packet that was gathered from several buffers, or may have been."""
ADDRESS_MASK = (1 << LENGTH_SHIFT) - 1 - MERGED - CONTINUES - IN_PARTS


@kernel
def held_entry(cpu: Any, position: int) -> int:
    """Guest-physical address of the socket queue's entry number ``position``."""
    return cpu.held + (position & (HELD_PACKETS - 1)) * HELD_ENTRY_BYTES


@kernel
def socket_is_full(cpu: Any) -> bool:
    """Whether the socket takes no more packets."""
    kept = load_field(cpu, cpu.driver + HELD_TAIL) - load_field(cpu, cpu.driver + HELD_HEAD)
    return kept >= HELD_PACKETS


@kernel
def deliver(cpu: Any, pair: Any, slot: int, address: int, length_bytes: int) -> bool:
    """Queue a received packet on the socket; False, and the packet's page let go, when the socket is full."""
    if socket_is_full(cpu):
        note_socket_full(pair, slot)
        release_page(cpu, address)
        return False
    tail = load_field(cpu, cpu.driver + HELD_TAIL)
    spend(cpu, APP_PACKET)
    note_handed_over(pair, slot, tail & (HELD_PACKETS - 1), now_ps(cpu))
    store_field(cpu, held_entry(cpu, tail), now_ps(cpu) + cpu.hold_ps)
    store_field(cpu, held_entry(cpu, tail) + 8, address | length_bytes << LENGTH_SHIFT)
    store_field(cpu, cpu.driver + HELD_TAIL, tail + 1)
    return True


@kernel
def next_due_ps(cpu: Any) -> int:
    """When the application is done with the oldest packet that it keeps; -1 when it keeps none."""
    head = load_field(cpu, cpu.driver + HELD_HEAD)
    if head == load_field(cpu, cpu.driver + HELD_TAIL):
        return -1
    return load_field(cpu, held_entry(cpu, head))


@kernel
def entry_continues(cpu: Any, position: int, tail: int) -> bool:
    """Whether the entry at ``position`` is a further part of the packet before it."""
    return position != tail and load_field(cpu, held_entry(cpu, position) + 8) & CONTINUES != 0


@primitive
def consume_parts(cpu: Any, pair: Any, head: int, tail: int) -> int:
    """Read and let go a packet in several buffers, the first at ``head``; returns the position after its last."""
    begin_reading(pair, head & (HELD_PACKETS - 1))
    if load_field(cpu, held_entry(cpu, head) + 8) & MERGED == 0:
        spend(cpu, RX_RELEASE)
    while True:
        packet = load_field(cpu, held_entry(cpu, head) + 8)
        address, position = packet & ADDRESS_MASK, head & (HELD_PACKETS - 1)
        head += 1
        last = not entry_continues(cpu, head, tail)
        read_part(cpu, pair, position, address, packet >> LENGTH_SHIFT, last)
        if last:
            end_reading(cpu, pair, position, address)
        release_page(cpu, address)
        if last:
            return head


@implementation(consume_parts, GUEST)
def consume_no_parts(cpu: Any, pair: Any, head: int, tail: int) -> int:
    """In a real guest of the suite no packet has several buffers: it is refused before it starts."""
    return tail


@kernel
def consume_due(cpu: Any, pair: Any) -> None:
    """Read and let go every kept packet whose hold time expired."""
    head = load_field(cpu, cpu.driver + HELD_HEAD)
    tail = load_field(cpu, cpu.driver + HELD_TAIL)
    if head == tail or load_field(cpu, held_entry(cpu, head)) > now_ps(cpu):
        return
    while head != tail and load_field(cpu, held_entry(cpu, head)) <= now_ps(cpu):
        packet = load_field(cpu, held_entry(cpu, head) + 8)
        if packet & IN_PARTS:
            head = consume_parts(cpu, pair, head, tail)
            continue
        address = packet & ADDRESS_MASK
        note_consumed(cpu, pair, head & (HELD_PACKETS - 1), address, packet >> LENGTH_SHIFT)
        if packet & MERGED == 0:
            spend(cpu, RX_RELEASE)
        release_page(cpu, address)
        head += 1
    store_field(cpu, cpu.driver + HELD_HEAD, head)
