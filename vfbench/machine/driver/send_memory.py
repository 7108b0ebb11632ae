"""What the stack makes of a send over the MTU: headers in a page of their own, and the bytes in fragments behind it.

Both drivers take it as it is: one fragment of up to 32 KiB in a block (order 3), or of 4 KiB in a page, at most 17 of
them (``MAX_SKB_FRAGS``). Block 0 of the send is its headers, the bytes follow from block 1.

Sources: ``tcp_sendmsg_locked`` and ``skb_page_frag_refill`` (net/ipv4/tcp.c, net/core/sock.c).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import TX_PACKET
from vfbench.machine.cpu import load_field, spend, spend_copy, store_field
from vfbench.machine.driver.state import FREE_HEAD, FREE_TAIL, TX_SEQUENCE
from vfbench.machine.driver.vf_transmit import write_block
from vfbench.machine.memory.block_pool import SEND_BLOCK_BYTES, alloc_block, is_block
from vfbench.machine.memory.guest_memory import (
    BLOCK_BYTES,
    BLOCK_SHIFT,
    BLOCKS_SHIFT,
    CONTENT,
    PAGE_BYTES,
    SENT,
)
from vfbench.machine.memory.page_pool import alloc_page
from vfbench.machine.oracle.oracle import note_refused, note_sending
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES, HEADER_BYTES

MOST_FRAGMENTS = 17


@kernel
def mss_bytes(cpu: Any) -> int:
    """Payload of a full frame."""
    return cpu.frame_bytes - FRAME_OVERHEAD_BYTES


@kernel
def frames_of(cpu: Any, payload_bytes: int) -> int:
    """Frames on the wire that a send of so much payload becomes."""
    return (payload_bytes + mss_bytes(cpu) - 1) // mss_bytes(cpu)


@kernel
def refuse_send(cpu: Any, pair: Any, payload_bytes: int) -> None:
    """No room for it, in ring or memory: every frame of it is refused."""
    for _ in range(frames_of(cpu, payload_bytes)):
        note_refused(pair)


@kernel
def begin_large_send(cpu: Any, pair: Any, payload_bytes: int, flow: int) -> int:
    """The stack takes a send in one pass and numbers its frames; returns the first number."""
    sequence = load_field(cpu, cpu.driver + TX_SEQUENCE)
    frames = frames_of(cpu, payload_bytes)
    store_field(cpu, cpu.driver + TX_SEQUENCE, sequence + frames)
    for i in range(frames):
        note_sending(pair, sequence + i, flow)
    spend(cpu, TX_PACKET)
    spend_copy(cpu, payload_bytes)
    return sequence


@kernel
def write_headers(cpu: Any, page: int, sequence: int) -> None:
    """The one set of headers that each frame's are made from."""
    write_block(cpu, page, HEADER_BYTES, CONTENT | SENT | sequence << BLOCKS_SHIFT)


@kernel
def write_fragment(cpu: Any, address: int, length_bytes: int, offset: int, sequence: int) -> None:
    """The bytes of a fragment, which begins ``offset`` bytes into the send's payload."""
    word = CONTENT | SENT | sequence << BLOCKS_SHIFT | 1 + (offset >> BLOCK_SHIFT)
    for block in range((length_bytes + BLOCK_BYTES - 1) >> BLOCK_SHIFT):
        begin = block << BLOCK_SHIFT
        write_block(cpu, address + begin, min(BLOCK_BYTES, length_bytes - begin), word + block)


@kernel
def memory_is_short(cpu: Any) -> bool:
    """Whether there may not be pages enough for a send, were no block left."""
    free = load_field(cpu, cpu.driver + FREE_TAIL) - load_field(cpu, cpu.driver + FREE_HEAD)
    return free <= MOST_FRAGMENTS


@kernel
def alloc_fragment_memory(cpu: Any) -> int:
    """Where the next fragment's bytes go: a block, or a page where there is none or none is wanted."""
    if cpu.fragment_bytes > PAGE_BYTES:
        block = alloc_block(cpu)
        if block != 0:
            return block
    return alloc_page(cpu)


@kernel
def new_fragment(cpu: Any, offset: int, payload_bytes: int, sequence: int) -> int:
    """Write the send's bytes from ``offset`` on into a new fragment; returns its address.

    How long it is ``fragment_length`` says.
    """
    address = alloc_fragment_memory(cpu)
    write_fragment(cpu, address, fragment_length(cpu, address, offset, payload_bytes), offset, sequence)
    return address


@kernel
def fragment_length(cpu: Any, address: int, offset: int, payload_bytes: int) -> int:
    """How many of the bytes from ``offset`` on lie in the fragment at ``address``."""
    room = SEND_BLOCK_BYTES if is_block(cpu, address) else PAGE_BYTES
    return min(room, payload_bytes - offset)
