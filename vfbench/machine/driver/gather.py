"""A packet in several buffers: the driver gathers its parts into one skb (``rx_ring->skb``, ``head_skb``).

What was gathered so far stands in the driver's page, between polls as well: a guest that was moved in the middle of a
packet goes on where it was. If the rest of that packet never comes, what comes next is taken for it, as a driver does
that waits for the end of a packet (EOP) and has nothing else to go by.

Sources: ``ixgbevf_is_non_eop``, ``ixgbevf_add_rx_frag`` (drivers/net/ethernet/intel/ixgbevf), ``receive_mergeable``
(drivers/net/virtio_net.c).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import APP_PACKET, RX_PACKET
from vfbench.machine.cpu import load_field, now_ps, spend, store_field
from vfbench.machine.driver.application import CONTINUES, IN_PARTS, LENGTH_SHIFT, MERGED, held_entry
from vfbench.machine.driver.gro import gro_take
from vfbench.machine.driver.reply import reply_to
from vfbench.machine.driver.state import (
    GATHER_TABLE,
    GATHERED,
    GATHERED_BYTES,
    HELD_HEAD,
    HELD_PACKETS,
    HELD_TAIL,
)
from vfbench.machine.memory.page_pool import release_page
from vfbench.machine.oracle.parts import (
    note_gathered,
    note_parts_dropped,
    note_parts_handed_over,
    note_parts_held,
)
from vfbench.machine.queue_pair import MOST_PARTS
from vfbench.machine.sides import GUEST, implementation, primitive
from vfbench.machine.wire import NEVER_PS

PART_MASK = (1 << LENGTH_SHIFT) - 1


@kernel
def part_at(cpu: Any, index: int) -> int:
    """Address of a gathered part, its length above it."""
    return load_field(cpu, cpu.driver + GATHER_TABLE + 8 * index)


@kernel
def forget_gathered(cpu: Any) -> None:
    """Nothing is gathered."""
    store_field(cpu, cpu.driver + GATHERED, 0)
    store_field(cpu, cpu.driver + GATHERED_BYTES, 0)


@kernel
def drop_gathered(cpu: Any, pair: Any, parts: int) -> None:
    """Let all parts go."""
    note_parts_dropped(pair, parts)
    for i in range(parts):
        release_page(cpu, part_at(cpu, i) & PART_MASK)


@primitive
def free_gathered(cpu: Any, pair: Any) -> None:
    """The driver closes: a packet that has not ended goes with its ring (``ixgbevf_clean_rx_ring``)."""
    drop_gathered(cpu, pair, load_field(cpu, cpu.driver + GATHERED))
    forget_gathered(cpu)


@implementation(free_gathered, GUEST)
def free_nothing(cpu: Any, pair: Any) -> None:
    """In a real guest of the suite no packet has several buffers: it is refused before it starts."""


@kernel
def queue_parts(cpu: Any, pair: Any, parts: int, due_ps: int) -> int:
    """Queue what was gathered on the socket, due together; returns the first one's place."""
    first = load_field(cpu, cpu.driver + HELD_TAIL)
    note_parts_held(pair, parts, first)
    for i in range(parts):
        flags = IN_PARTS | MERGED | CONTINUES if i > 0 else IN_PARTS
        store_field(cpu, held_entry(cpu, first + i), due_ps)
        store_field(cpu, held_entry(cpu, first + i) + 8, part_at(cpu, i) | flags)
    store_field(cpu, cpu.driver + HELD_TAIL, first + parts)
    return first


@kernel
def receive_gathered(cpu: Any, pair: Any, application: Any, parts: int, length_bytes: int) -> None:
    """The packet is whole: to GRO, or to the application, which may answer; dropped where the socket has no room."""
    kept = load_field(cpu, cpu.driver + HELD_TAIL) - load_field(cpu, cpu.driver + HELD_HEAD)
    if kept + parts > HELD_PACKETS:
        drop_gathered(cpu, pair, parts)
        return
    flow, tag = pair.oracle.gathered[0].flow, pair.oracle.gathered[0].tag
    if cpu.gro:
        first = queue_parts(cpu, pair, parts, NEVER_PS)
        gro_take(cpu, pair, application, flow, tag, length_bytes, first, parts)
        return
    spend(cpu, RX_PACKET)
    spend(cpu, APP_PACKET)
    first = queue_parts(cpu, pair, parts, now_ps(cpu) + cpu.hold_ps)
    note_parts_handed_over(pair, parts, first, now_ps(cpu))
    reply_to(cpu, pair, application, length_bytes, flow, tag)


@primitive
def receive_part(
    cpu: Any,
    pair: Any,
    application: Any,
    slot: int,
    skip_bytes: int,
    address: int,
    length_bytes: int,
    ends: bool,
) -> None:
    """Gather a part, ``skip_bytes`` into the buffer of ``slot``; where the packet ends, pass it on."""
    parts = load_field(cpu, cpu.driver + GATHERED)
    if parts == MOST_PARTS:
        drop_gathered(cpu, pair, parts)
        forget_gathered(cpu)
        parts = 0
    note_gathered(pair, parts, slot, skip_bytes, length_bytes)
    store_field(cpu, cpu.driver + GATHER_TABLE + 8 * parts, address | length_bytes << LENGTH_SHIFT)
    gathered_bytes = load_field(cpu, cpu.driver + GATHERED_BYTES) + length_bytes
    if ends:
        forget_gathered(cpu)
        receive_gathered(cpu, pair, application, parts + 1, gathered_bytes)
    else:
        store_field(cpu, cpu.driver + GATHERED, parts + 1)
        store_field(cpu, cpu.driver + GATHERED_BYTES, gathered_bytes)


@implementation(receive_part, GUEST)
def receive_no_part(
    cpu: Any,
    pair: Any,
    application: Any,
    slot: int,
    skip_bytes: int,
    address: int,
    length_bytes: int,
    ends: bool,
) -> None:
    """In a real guest of the suite no packet has several buffers: it is refused before it starts."""
