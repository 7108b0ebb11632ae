"""Times: the origin, packets without a time, clocks that were not set; and advice that was tried."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support.made_up_captures import (
    PACKETS,
    SECOND,
    STEADY,
    enhanced,
    frame,
    interface,
    option,
    pcap,
    pcapng,
    read,
    refusal,
    section,
    simple,
)

from vfbench.captures import read_capture

pytestmark = pytest.mark.usefixtures("capture_cache")

EPOCH = (0, frame(), 60)
LATER = (4_294_967_295 * SECOND, frame(), 60)


def test_the_first_known_time_is_the_origin(tmp_path: Path) -> None:
    known = enhanced(5_000_000, frame(), 60) + simple(frame()) + enhanced(5_000_007, frame(), 60)
    found = read(tmp_path, section() + interface() + simple(frame()) + simple(frame()) + known)
    assert list(found.time_ns) == [0, 0, 0, 0, 7000]


def test_without_any_time_all_packets_are_of_one_instant(tmp_path: Path) -> None:
    assert list(read(tmp_path, section() + interface() + simple(frame()) * 3).time_ns) == [0, 0, 0]


def test_a_time_before_the_epoch_is_a_time(tmp_path: Path) -> None:
    import struct

    clock = interface(option(14, struct.pack("<q", -10)))
    found = read(tmp_path, section() + clock + enhanced(0, frame(), 60) + enhanced(10**6, frame(), 60))
    assert list(found.time_ns) == [0, SECOND]


ODD = {
    "first": (
        [EPOCH, *STEADY],
        "packet 1: its time is 1700000000 s before the first of the other 20: 1970-01-01 00:00",
        "1",
    ),
    "last": ([*STEADY, EPOCH], "packet 21: its time is 1700000000 s before", "21"),
    "in the middle": (
        [*STEADY[:10], EPOCH, *STEADY[10:]],
        "packet 11: its time is 1700000000 s before",
        "11",
    ),
    "in 2106": (
        [*STEADY[:10], LATER, *STEADY[10:]],
        "packet 11: its time is 2594967295 s after the first of the other 20: 2106",
        "11",
    ),
    "several": (
        [EPOCH, EPOCH, EPOCH, *STEADY, LATER],
        "packet 1: its time is 1700000000 s before the first of the other 20 (and 3 more): 1970",
        "1-3 24",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_a_packet_whose_clock_was_not_set_is_named_and_can_be_left_out(tmp_path: Path, kind: str) -> None:
    packets, reason, numbers = ODD[kind]
    message = refusal(tmp_path, pcap(packets))
    assert reason in message
    assert f"; `editcap IN OUT {numbers}` leaves " in message


@pytest.mark.skipif(not shutil.which("editcap"), reason="Wireshark's tools are not installed")
@pytest.mark.parametrize(
    ("content", "left"),
    [
        *((pcap(packets), 20) for packets, *_ in ODD.values()),
        (pcapng(ODD["several"][0]), 20),
        (pcap([each for one in STEADY * 3 for each in (EPOCH, (1_700_000_000 * SECOND, *one[1:]))][1:]), None),
        (pcap(PACKETS)[:-1], 2),
        (pcapng(PACKETS)[:-1], 2),
        (pcap([(5 * SECOND, *STEADY[0][1:]), (2 * SECOND, frame(), 60)]), 2),
        (pcap([*STEADY[:5], (STEADY[5][0], frame(), 1 << 20), *STEADY[6:]]), 19),
        (pcap(STEADY) + b"\0\0\0\0" + b"\xff" * 40, 20),
    ],
)  # fmt: skip
def test_the_advice_works(tmp_path: Path, content: bytes, left: int | None) -> None:
    """With Wireshark's own tools, on each defect that comes with a command."""
    command = refusal(tmp_path, content).rpartition("; `")[2].partition("`")[0]
    command = command.replace("IN", str(tmp_path / "a.pcap")).replace("OUT", str(tmp_path / "out.pcap"))
    subprocess.run(command, shell=True, check=False, capture_output=True, timeout=60)
    found = len(read_capture(tmp_path / "out.pcap").length)
    assert found == left if left else found >= 30
