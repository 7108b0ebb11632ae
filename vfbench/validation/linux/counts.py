"""What was counted, by the guest's kernel and by QEMU, read from their own words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

HIST_ENTRY = re.compile(r"\{ size: +(\d+) \} hitcount: +(\d+)")
HIST_TOTAL = re.compile(r" +Hits: (\d+)")
INTERRUPT = re.compile(r" *(\w+): +(\d+(?: +\d+)*) +(\S.*)")
DEVICE = re.compile(r" *([\w.-]+): *(.*)")
RX_PACKETS, TX_PACKETS = 1, 9
REGISTER_WRITE = re.compile(r"Write to register (0x[0-9a-f]+),")
SET_CAUSES = re.compile(r"Write to register (?:0x1520|0x10020), .* value: (0x[0-9a-f]+)")
"""EICS of igb, VTEICS of its first VF: each bit set is an interrupt (82576 datasheet, 8.8.1)."""
ASKED_FOR = "interrupts that the driver asked for"
QUEUE_NOTIFY = re.compile(r" n (\d+) ")


def histogram_hits(lines: Iterable[str]) -> int:
    """Events that a histogram trigger has counted, from its ``hist`` file (Documentation/trace/histogram.rst)."""
    hits = [int(found[1]) for line in lines if (found := HIST_TOTAL.fullmatch(line))]
    if len(hits) != 1:
        raise ValueError(f"a histogram has one total, not {len(hits)}")
    return hits[0]


def histogram_by_size(lines: Iterable[str]) -> dict[int, int]:
    """Events by their field ``size``, in bytes."""
    return {int(found[1]): int(found[2]) for line in lines if (found := HIST_ENTRY.match(line))}


def interrupts_by_name(lines: Iterable[str]) -> dict[str, int]:
    """/proc/interrupts: the last word of a line (the handler's name), the sum over processors."""
    found = (INTERRUPT.fullmatch(line) for line in lines)
    return {
        each[3].split()[-1]: sum(map(int, each[2].split())) for each in found if each and each[1].isdecimal()
    }


def packets_of(lines: Iterable[str], interface: str) -> tuple[int, int]:
    """/proc/net/dev: packets received and sent by ``interface``; ValueError if it is not there."""
    for line in lines:
        found = DEVICE.fullmatch(line)
        if found and found[1] == interface:
            fields = found[2].split()
            return int(fields[RX_PACKETS]), int(fields[TX_PACKETS])
    raise ValueError(f"/proc/net/dev has no {interface}")


def trace_events(lines: Iterable[str]) -> Counter[str]:
    """QEMU's trace events by name; a register's write by register too, a queue's notification by queue too.

    Under ``ASKED_FOR``: the interrupts by which igb's and igbvf's watchdogs look after their rings every 2 s.
    """
    counted: Counter[str] = Counter()
    for line in lines:
        name = line.partition(" ")[0]
        counted[name] += 1
        detail = REGISTER_WRITE.search(line) or QUEUE_NOTIFY.search(line)
        if detail:
            counted[f"{name} {detail[1]}"] += 1
        if asked := SET_CAUSES.search(line):
            counted[ASKED_FOR] += int(asked[1], 16).bit_count()
    return counted
