"""The loops that calibration times, each over memory given by its address.

Loads and stores are one instruction each that the compiler neither drops nor moves. A chase depends on what it
loads, so it shows the latency of each step; the other loops let the processor overlap what it can.
"""

from __future__ import annotations

from vfbench.kernels import kernel
from vfbench.testbeds.kvm.guest.primitives import copy_words, touch_atomic, touch_in_two
from vfbench.testbeds.kvm.sys.raw_memory import load_i64, load_u8, store_i64, store_u8

CYCLES_PER_ROUND = 16
LINE_SHIFT = 6
NEXT_OFFSET = 8
"""In a chase's line, the word that holds the next line's address; byte 0 is for a dummy write."""
PRESENT = 2


@kernel
def depend(rounds: int, addend: int) -> int:
    """Sixteen operations a round, each of one cycle and each waiting for the one before: 16 cycles.

    The addend is no constant: Intel's processors since Alder Lake add a small constant in no time at all.
    """
    x = rounds
    for i in range(rounds):
        x = (x ^ i) + addend
        x = (x ^ i) + addend
        x = (x ^ i) + addend
        x = (x ^ i) + addend
        x = (x ^ i) + addend
        x = (x ^ i) + addend
        x = (x ^ i) + addend
        x = (x ^ i) + addend
    return x


@kernel
def chase(line: int, steps: int) -> int:
    """From line to line, each known only when the one before has been loaded; returns where it ends."""
    for _ in range(steps):
        line = load_i64(line + NEXT_OFFSET)
    return line


@kernel
def chase_and_touch(line: int, steps: int) -> int:
    """The same with a dummy write of each line's first byte."""
    for _ in range(steps):
        touch_in_two(line)
        line = load_i64(line + NEXT_OFFSET)
    return line


@kernel
def touch_lines(base: int, lines: int, rounds: int) -> None:
    """A dummy write of each of a few lines, in turn."""
    for _ in range(rounds):
        for i in range(lines):
            touch_in_two(base + (i << LINE_SHIFT))


@kernel
def touch_lines_atomically(base: int, lines: int, rounds: int) -> None:
    """The same as one locked instruction each."""
    for _ in range(rounds):
        for i in range(lines):
            touch_atomic(base + (i << LINE_SHIFT))


@kernel
def copy_packets(sources: int, targets: int, count: int, words: int) -> None:
    """Copy `words` words from each address of the table `sources` to that of `targets`."""
    for i in range(count):
        copy_words(load_i64(targets + 8 * i), load_i64(sources + 8 * i), words)


@kernel
def walk_entries(table: int, entries: int, marks: int) -> int:
    """Read a flat page table in order; mark a byte for each page that its entry lets the device write."""
    for i in range(entries):
        entry = load_i64(table + 8 * i)
        if entry & PRESENT:
            page = marks + (entry >> 12)
            store_u8(page, load_u8(page) | 1)
    return entries


@kernel
def scan_bitmap(bitmap: int, words: int) -> int:
    """How many of a bitmap's words are not zero."""
    found = 0
    for i in range(words):
        found += load_i64(bitmap + 8 * i) != 0
    return found


@kernel
def store_to_pages(base: int, pages: int, stride: int) -> None:
    """One store to each page."""
    for i in range(pages):
        store_i64(base + i * stride, i)
