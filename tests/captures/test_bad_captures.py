"""Captures: nothing but a whole, sane one is believed."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.made_up_captures import (
    PACKETS,
    block,
    enhanced,
    frame,
    interface,
    option,
    pcap,
    pcapng,
    read,
    refusal,
    section,
)

from vfbench import captures
from vfbench.captures import packets, read_capture
from vfbench.captures import pcapng as blocks
from vfbench.captures.packets import MAX_PACKET_BYTES
from vfbench.captures.pcapng import MAX_INTERFACES
from vfbench.errors import UserError

pytestmark = pytest.mark.usefixtures("capture_cache")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_capture(tmp_path / "missing.pcap")
    with pytest.raises(UserError, match="is a directory"):
        read_capture(tmp_path)
    with pytest.raises(UserError, match="cannot be read: "):
        read_capture("a\0b")
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        read_capture("x" * 5000)


def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UserError, match="is no regular file"):
            read_capture(path)


def test_a_file_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(captures.MAX_FILE_BYTES + 1)
    with pytest.raises(UserError, match=r"has 4294967297 bytes, more than 4294967296; give a pcap"):
        read_capture(tmp_path / "large")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\xd4", "is no pcap or pcapng capture: it begins with d4"),
        (b"#!/bin/sh\necho", "is no pcap or pcapng capture: it begins with 23 21 2f 62"),
        (pcap(PACKETS)[:10], "header is cut short after 10 bytes"),
        (pcap([]), "has no packets"),
        (section() + interface(), "has no packets"),
        (pcap(PACKETS)[:-1], "packet 3: the file ends within the record that begins at byte"),
        (pcap(PACKETS)[:-45], "packet 3: the file ends within the record that begins at byte"),
        (pcapng(PACKETS)[:-1], "packet 3: the file ends within the record that begins at byte"),
        (pcapng(PACKETS)[:-70], "packet 3: the file ends within the record that begins at byte"),
        (section()[:20], "header is cut short"),
        (section()[:8] + bytes(20), "header is malformed"),
        (pcap([(0, frame(), 1 << 31)]), "packet 1: its length 2147483648 is more than 262144 bytes"),
        (
            pcap([(2 * 10**9, frame(), 60), (10**9, frame(), 60)]),
            "packet 2: its time is 1000000000 ns before",
        ),
        (pcap([(0, frame(), 60)], link=147), "packet 1: its link type 147 is not Ethernet"),
        (
            pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 60),
            "packet 1: its captured length 4294967295 is more than 262144",
        ),
        (section() + enhanced(0, frame(), 60), "packet 1: its interface 0 is not described; there are 0"),
        (
            section() + interface() + enhanced(0, frame(), 60, number=9),
            "its interface 9 is not described; there are 1",
        ),
        (
            section() + interface() + block(6, struct.pack("<5I", 0, 0, 0, 99, 99)),
            "is beyond the 0 bytes of its block",
        ),
        (section() + interface() + block(6, b"1234"), "packet 1: the block at byte 48 is malformed"),
        (section() + block(1, b""), "packet 1: the block at byte 28 is malformed"),
        (
            section() + struct.pack("<II", 6, 0xFFFFFFF0),
            "the block of 4294967280 bytes at byte 28 is longer than 16777216",
        ),
        (section() + struct.pack("<II", 6, 4), "packet 1: the block at byte 28 is malformed"),
        (section() + interface() * (MAX_INTERFACES + 1), f"describes more than {MAX_INTERFACES} interfaces"),
        (
            section()
            + interface(option(9, b"\0"))
            + enhanced(0, frame(), 60)
            + enhanced((1 << 64) - 1, frame(), 60),
            "packet 2: its time is 4611686018 s after the first of the other 1: 2116 or after, not 1970-01-01 00:00:00",
        ),
    ],
)
def test_a_bad_capture_is_refused_by_name_packet_and_value(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    assert reason in refusal(tmp_path, content)


def test_a_refusal_says_what_would_do(tmp_path: Path) -> None:
    bad = pcap(PACKETS[:2]) + struct.pack("<IIII", 1_700_000_001, 0, 1 << 30, 60)
    assert refusal(tmp_path, bad).endswith("; `editcap -r IN OUT 1-2` keeps the packets before it")
    assert refusal(tmp_path, b"nothing").endswith("; give a pcap or pcapng file")


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_capture(tmp_path / "a\nb")
    assert "\n" not in str(caught.value)


def test_a_million_tiny_interfaces_cost_neither_time_nor_memory(tmp_path: Path) -> None:
    content = section() + interface() * 1_000_000
    read(tmp_path, pcap(PACKETS))  # imports
    tracemalloc.start()
    assert "interfaces" in refusal(tmp_path, content)
    assert tracemalloc.get_traced_memory()[1] < 30_000_000
    tracemalloc.stop()


def test_sections_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_OTHER_BLOCKS", 1000)
    assert "more than 1000 blocks that hold no packet" in refusal(tmp_path, section() * 1100)


def test_too_many_packets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets, "MAX_PACKETS", 2)
    assert "packet 3: there are more than 2 packets; `editcap -r IN OUT 1-2` keeps these" in refusal(
        tmp_path, pcap(PACKETS)
    )


def test_a_refused_capture_leaves_nothing_in_the_cache(tmp_path: Path, capture_cache: Path) -> None:
    refusal(tmp_path, pcap(PACKETS)[:-1])
    assert not capture_cache.exists()


SAMPLES = [pcap(PACKETS), pcap(PACKETS, ">", nano=True), pcapng(PACKETS), pcapng(PACKETS, ">", 6)]


def believe_or_refuse(tmp_path: Path, content: bytes) -> None:
    """Sound arrays or a UserError: nothing else may come out."""
    try:
        found = read(tmp_path, content)
    except UserError as error:
        message = str(error)
        if "\n" in message:
            pytest.fail(f"more than one line: {message!r}")
        return
    assert len(found.time_ns) == len(found.length) == len(found.flow) == len(found.received) >= 1
    assert np.all(np.diff(found.time_ns) >= 0)
    assert found.time_ns[0] == 0
    assert 1 <= found.length.min() <= found.length.max() <= MAX_PACKET_BYTES + 14


no_limits = settings(
    deadline=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(
    content=st.one_of(
        *(st.binary(max_size=300).map(sample[:4].__add__) for sample in SAMPLES), st.binary(max_size=64)
    )
)
@no_limits
def test_any_bytes_are_believed_or_refused(tmp_path: Path, content: bytes) -> None:
    believe_or_refuse(tmp_path, content)


@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(
        st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4
    ),
    cut=st.integers(0, 400),
)
@no_limits
def test_a_damaged_capture_is_believed_or_refused(
    tmp_path: Path, sample: bytes, changes: list[tuple[int, bytes]], cut: int
) -> None:
    content = bytearray(sample)
    for at, value in changes:
        content[at : at + len(value)] = value
    believe_or_refuse(tmp_path, bytes(content[: len(content) - cut if cut < 40 else None]))
