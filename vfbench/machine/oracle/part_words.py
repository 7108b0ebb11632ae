"""What the observer knows of a buffer that holds part of a packet, in the word that for a whole frame is its length.

How many bytes of the packet it holds, how many lie before them, whether the packet goes on in the next buffer, and,
where it is several frames of the wire joined, the payload of each. A frame in one buffer is its length alone.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES

OFFSET_SHIFT, GOES_ON, PAYLOAD_SHIFT = 24, 1 << 48, 49
LENGTH_MASK, PAYLOAD_MASK = (1 << OFFSET_SHIFT) - 1, (1 << 14) - 1
FRAMES_SHIFT = 32
FLOW_MASK = (1 << FRAMES_SHIFT) - 1


@kernel
def part_word(length_bytes: int, offset: int, goes_on: bool, payload_bytes: int) -> int:
    """What a buffer holds of a packet; ``payload_bytes`` is each frame's where it is several, else 0."""
    word = length_bytes | offset << OFFSET_SHIFT | payload_bytes << PAYLOAD_SHIFT
    return word | GOES_ON if goes_on else word


@kernel
def part_bytes(word: int) -> int:
    """Bytes of the packet in this buffer."""
    return word & LENGTH_MASK


@kernel
def part_offset(word: int) -> int:
    """Bytes of it in the buffers before."""
    return (word >> OFFSET_SHIFT) & LENGTH_MASK


@kernel
def part_payload(word: int) -> int:
    """Payload of each frame of several that are joined; 0 for one frame."""
    return (word >> PAYLOAD_SHIFT) & PAYLOAD_MASK


@kernel
def frames_in(length_bytes: int, payload_bytes: int) -> int:
    """Frames of the wire in a packet of ``length_bytes``."""
    if payload_bytes == 0:
        return 1
    return (length_bytes - FRAME_OVERHEAD_BYTES + payload_bytes - 1) // payload_bytes


@kernel
def frames_ended(held: Any) -> int:
    """Frames of the wire that ended in the buffer kept there."""
    if held.length & GOES_ON != 0:
        return held.flow >> FRAMES_SHIFT
    return max(1, held.flow >> FRAMES_SHIFT)
