"""GRO: full frames of one flow that follow one another pass through the stack as one.

A poll hands each frame to ``napi_gro_receive``, which joins it to what it holds of its flow, up to 64 KiB; a frame that
does not fill the MTU, or whose sender has no more for now (PSH), takes what is held along. At the end of the poll all
goes up. Who is joined to another costs ``gro_merge``, each pass ``rx_packet``, and the application is called once.

Frames keep their pages and their places in the socket's queue, and each is compared by itself; until its flow goes up
it is due never. The tag of a frame says whether it follows the one before it: a gap in a stream ends what is held.

Sources: ``dev_gro_receive``, ``tcp_gro_receive``, ``napi_gro_flush`` (net/core, net/ipv4), MAX_GRO_SKBS 8.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import APP_PACKET, GRO_MERGE, RX_PACKET
from vfbench.machine.cpu import load_field, now_ps, spend, store_field
from vfbench.machine.driver.application import LENGTH_SHIFT, MERGED, deliver, held_entry, socket_is_full
from vfbench.machine.driver.reply import reply, reply_to
from vfbench.machine.driver.state import GRO_TABLE, HELD_TAIL
from vfbench.machine.memory.page_pool import release_page
from vfbench.machine.oracle.oracle import held_flow, note_held, note_passed_up, note_socket_full
from vfbench.machine.queue_pair import MOST_DESCRIPTORS
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES, NEVER_PS, TAG_PUSH

FLOWS = 8
"""Of as many flows frames are held; one more sends the oldest up."""
MOST_BYTES = 1 << 16
FLOW, ENTRIES, LENGTH, FIRST_LENGTH, FIRST_TAG, LAST_TAG, POSITION = range(0, 56, 8)
"""A held flow: its number plus one (0: none), entries of the socket's queue, length as one packet's, its first place.
"""
ENTRY_BYTES = 64


@kernel
def get(cpu: Any, entry: int, field: int) -> int:
    """A word of a held flow."""
    return load_field(cpu, cpu.driver + GRO_TABLE + entry * ENTRY_BYTES + field)


@kernel
def put(cpu: Any, entry: int, field: int, value: int) -> None:
    """Set one."""
    store_field(cpu, cpu.driver + GRO_TABLE + entry * ENTRY_BYTES + field, value)


@kernel
def find_flow(cpu: Any, flow: int) -> int:
    """The entry of a flow of which frames are held, or -1; for flow -1 one that is free."""
    for entry in range(FLOWS):
        if get(cpu, entry, FLOW) == flow + 1:
            return entry
    return -1


@kernel
def oldest_flow(cpu: Any) -> int:
    """The entry of the flow whose first frame came first."""
    oldest = 0
    for entry in range(1, FLOWS):
        if get(cpu, entry, POSITION) < get(cpu, oldest, POSITION):
            oldest = entry
    return oldest


@kernel
def pass_up(cpu: Any, pair: Any, application: Any, entry: int) -> None:
    """One pass through the stack for all that is held of a flow; the application gets it as one."""
    flow, first, length_bytes = get(cpu, entry, FLOW) - 1, get(cpu, entry, POSITION), get(cpu, entry, LENGTH)
    left = get(cpu, entry, ENTRIES)
    put(cpu, entry, FLOW, 0)
    spend(cpu, RX_PACKET)
    spend(cpu, APP_PACKET)
    tag = get(cpu, entry, FIRST_TAG)
    position, due_ps = first, now_ps(cpu) + cpu.hold_ps
    while left > 0:
        held = held_entry(cpu, position)
        if held_flow(pair, position) == flow and load_field(cpu, held) == NEVER_PS:
            store_field(cpu, held, due_ps)
            if position != first:
                store_field(cpu, held + 8, load_field(cpu, held + 8) | MERGED)
            note_passed_up(pair, position, now_ps(cpu))
            left -= 1
        position += 1
    reply_to(cpu, pair, application, length_bytes, flow, tag)


@kernel
def follows(before: int, tag: int) -> bool:
    """Whether a frame is the next of its flow: by its number, or, where frames have none, in any case."""
    return (tag & ~TAG_PUSH) == before + 1 or (tag == 0 and before == 0)


@kernel
def joins(cpu: Any, entry: int, length_bytes: int, tag: int) -> bool:
    """Whether a frame follows what is held of its flow, and fits."""
    if not follows(get(cpu, entry, LAST_TAG), tag) or length_bytes > get(cpu, entry, FIRST_LENGTH):
        return False
    return get(cpu, entry, LENGTH) + length_bytes - FRAME_OVERHEAD_BYTES <= MOST_BYTES


@kernel
def join(cpu: Any, entry: int, length_bytes: int, tag: int, entries: int) -> None:
    """Join a frame's payload to what is held."""
    spend(cpu, GRO_MERGE)
    put(cpu, entry, ENTRIES, get(cpu, entry, ENTRIES) + entries)
    put(cpu, entry, LENGTH, get(cpu, entry, LENGTH) + length_bytes - FRAME_OVERHEAD_BYTES)
    put(cpu, entry, LAST_TAG, tag)


@kernel
def begin(
    cpu: Any,
    pair: Any,
    application: Any,
    flow: int,
    length_bytes: int,
    tag: int,
    position: int,
    entries: int,
) -> int:
    """Hold the first frame of a flow; returns its entry."""
    entry = find_flow(cpu, -1)
    if entry < 0:
        entry = oldest_flow(cpu)
        pass_up(cpu, pair, application, entry)
    put(cpu, entry, FLOW, flow + 1)
    put(cpu, entry, ENTRIES, entries)
    put(cpu, entry, LENGTH, length_bytes)
    put(cpu, entry, FIRST_LENGTH, length_bytes)
    put(cpu, entry, FIRST_TAG, tag)
    put(cpu, entry, LAST_TAG, tag)
    put(cpu, entry, POSITION, position)
    return entry


@kernel
def queue_held(cpu: Any, pair: Any, slot: int, address: int, length_bytes: int) -> int:
    """Queue a frame on the socket, due never; returns its place, or -1, and its page let go, when that is full."""
    if socket_is_full(cpu):
        note_socket_full(pair, slot)
        release_page(cpu, address)
        return -1
    tail = load_field(cpu, cpu.driver + HELD_TAIL)
    note_held(pair, slot, tail)
    store_field(cpu, held_entry(cpu, tail), NEVER_PS)
    store_field(cpu, held_entry(cpu, tail) + 8, address | length_bytes << LENGTH_SHIFT)
    store_field(cpu, cpu.driver + HELD_TAIL, tail + 1)
    return tail


@kernel
def gro_receive(cpu: Any, pair: Any, application: Any, slot: int, address: int, length_bytes: int) -> None:
    """A frame out of the ring: joined to others, held for others, or passed up at once."""
    received = pair.oracle.slot[slot & (MOST_DESCRIPTORS - 1)]
    flow, tag = received.flow, received.tag
    position = queue_held(cpu, pair, slot, address, length_bytes)
    if position >= 0:
        gro_take(cpu, pair, application, flow, tag, length_bytes, position, 1)


@kernel
def gro_take(
    cpu: Any,
    pair: Any,
    application: Any,
    flow: int,
    tag: int,
    length_bytes: int,
    position: int,
    entries: int,
) -> None:
    """A packet that has so many entries of the socket's queue from ``position`` on.

    What the host has joined already goes up as it is (``skb_is_gso`` in ``dev_gro_receive``).
    """
    entry = find_flow(cpu, flow)
    if entry >= 0 and joins(cpu, entry, length_bytes, tag):
        join(cpu, entry, length_bytes, tag, entries)
    else:
        if entry >= 0:
            pass_up(cpu, pair, application, entry)
        entry = begin(cpu, pair, application, flow, length_bytes, tag, position, entries)
    if length_bytes < cpu.frame_bytes or length_bytes > cpu.cut_over_bytes or tag & TAG_PUSH != 0:
        pass_up(cpu, pair, application, entry)


@kernel
def receive_packet(cpu: Any, pair: Any, application: Any, slot: int, address: int, length_bytes: int) -> None:
    """A packet out of the ring goes to GRO, or to the application by itself, which may answer."""
    if cpu.gro:
        gro_receive(cpu, pair, application, slot, address, length_bytes)
    elif deliver(cpu, pair, slot, address, length_bytes):
        reply(cpu, pair, application, slot, length_bytes)


@kernel
def gro_flush(cpu: Any, pair: Any, application: Any) -> None:
    """The poll ends: all that is held goes up, the oldest first."""
    for _ in range(FLOWS):
        oldest = -1
        for entry in range(FLOWS):
            if get(cpu, entry, FLOW) == 0:
                continue
            if oldest < 0 or get(cpu, entry, POSITION) < get(cpu, oldest, POSITION):
                oldest = entry
        if oldest < 0:
            return
        pass_up(cpu, pair, application, oldest)
