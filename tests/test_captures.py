"""Captures: every format is read alike, and nothing but a whole, sane capture is believed."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vfbench import capture_files, captures
from vfbench.capture_files import MAX_INTERFACES, MAX_PACKET_BYTES
from vfbench.captures import Capture, read_capture
from vfbench.errors import UserError

SHIPPED = Path(__file__).parent.parent / "workloads" / "captures" / "veth-mixed.pcap"
Packet = tuple[int, bytes, int]
"""Time in ns, captured bytes, length on the wire."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(captures, "user_cache_path", lambda _name: tmp_path / "cache")
    return tmp_path / "cache" / "captures"


# --- what captures look like


def frame(port: int = 1000, to: int = 1, by: int = 2, kind: int = 0x0800) -> bytes:
    """An Ethernet frame with a UDP packet."""
    ethernet = bytes([2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, by]) + kind.to_bytes(2, "big")
    ip = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2])
    return ethernet + ip + struct.pack(">HHHH", port, 53, 8, 0)


PACKETS: list[Packet] = [
    (1_700_000_000_000_001_000, frame(1000), 60),
    (1_700_000_000_000_005_000, frame(1001), 1514),
    (1_700_000_001_000_000_000, frame(1000), 42),
]


def pcap(
    packets: list[Packet], order: str = "<", nano: bool = False, snap: int = 262144, link: int = 1
) -> bytes:
    magic, per_s = (0xA1B23C4D, 10**9) if nano else (0xA1B2C3D4, 10**6)
    out = struct.pack(order + "IHHIIII", magic, 2, 4, 0, 0, snap, link)
    for time_ns, data, length in packets:
        fraction = time_ns % 10**9 * per_s // 10**9
        out += struct.pack(order + "IIII", time_ns // 10**9, fraction, len(data), length) + data
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    padded = body + bytes(-len(body) % 4)
    size = len(padded) + 12
    return struct.pack(order + "II", kind, size) + padded + struct.pack(order + "I", size)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(options: bytes = b"", order: str = "<", snap: int = 0, link: int = 1) -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(
    ticks: int, data: bytes, length: int, order: str = "<", number: int = 0, options: bytes = b""
) -> bytes:
    head = struct.pack(order + "5I", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), length)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def pcapng(packets: list[Packet], order: str = "<", resolution: int = 9) -> bytes:
    out = section(order) + interface(option(9, bytes([resolution]), order), order)
    for time_ns, data, length in packets:
        out += enhanced(time_ns * 10**resolution // 10**9, data, length, order)
    return out


def read(tmp_path: Path, content: bytes) -> Capture:
    path = tmp_path / "a.pcap"
    path.write_bytes(content)
    return read_capture(path)


def refusal(tmp_path: Path, content: bytes) -> str:
    """The one line with which a capture is refused."""
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert message.startswith(f"capture {tmp_path / 'a.pcap'}: ")
    assert "\n" not in message
    return message


# --- good captures


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("kind", ["pcap", "pcap-nano", "pcapng", "pcapng-micro"])
def test_every_format_and_byte_order_gives_the_same_arrays(tmp_path: Path, kind: str, order: str) -> None:
    content = {
        "pcap": pcap(PACKETS, order),
        "pcap-nano": pcap(PACKETS, order, nano=True),
        "pcapng": pcapng(PACKETS, order),
        "pcapng-micro": pcapng(PACKETS, order, 6),
    }[kind]
    found = read(tmp_path, content)
    assert list(found.time_ns) == [0, 4000, 999_999_000]
    assert list(found.length) == [60, 1514, 42]
    assert list(found.flow) == [0, 1, 0]
    assert list(found.received) == [True, True, True]
    assert found.link_type == 1


def test_nanoseconds_are_kept(tmp_path: Path) -> None:
    assert list(read(tmp_path, pcap([(1, frame(), 60), (8, frame(), 60)], nano=True)).time_ns) == [0, 7]


@pytest.mark.parametrize(
    ("resolution", "ticks"), [(0, 3), (3, 3000), (9, 3 * 10**9), (12, 3 * 10**12), (0x80 | 10, 3 << 10)]
)
def test_any_time_resolution_is_understood(tmp_path: Path, resolution: int, ticks: int) -> None:
    body = enhanced(0, frame(), 60) + enhanced(ticks, frame(), 60)
    found = read(tmp_path, section() + interface(option(9, bytes([resolution]))) + body)
    assert list(found.time_ns) == [0, 3 * 10**9]


def test_extreme_time_resolutions_neither_crash_nor_overflow(tmp_path: Path) -> None:
    for resolution in (0x7F, 0xFF):
        body = enhanced(0, frame(), 60) + enhanced((1 << 64) - 1, frame(), 60)
        assert list(read(tmp_path, section() + interface(option(9, bytes([resolution]))) + body).time_ns) == [
            0,
            0,
        ]


def test_an_interfaces_time_offset_is_added(tmp_path: Path) -> None:
    two = interface() + interface(option(14, struct.pack("<q", 5)))
    body = enhanced(10**6, frame(), 60) + enhanced(0, frame(), 60, number=1)
    assert list(read(tmp_path, section() + two + body).time_ns) == [0, 4 * 10**9]


def test_interface_numbers_begin_anew_with_a_section(tmp_path: Path) -> None:
    first = section() + interface(option(9, b"\x03")) + enhanced(1000, frame(), 60)
    second = section(">") + interface(b"", ">") + enhanced(3_000_000, frame(), 60, ">")
    assert list(read(tmp_path, first + second).time_ns) == [0, 2 * 10**9]


def test_unknown_custom_and_secret_blocks_are_skipped(tmp_path: Path) -> None:
    noise = (
        block(0xBAD, struct.pack("<I", 32473) + b"mine")
        + block(5, bytes(12))
        + block(10, bytes(8))
        + block(77, b"")
    )
    found = read(tmp_path, section() + noise + interface() + noise + enhanced(0, frame(), 60) + noise)
    assert list(found.length) == [60]


def test_simple_packets_take_the_time_of_the_packet_before(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 60) + frame() + bytes(60 - len(frame())))
    found = read(
        tmp_path, section() + interface() + enhanced(5, frame(), 60) + enhanced(9, frame(), 60) + simple
    )
    assert list(found.time_ns) == [0, 4000, 4000]


def test_an_old_packet_block_is_read(tmp_path: Path) -> None:
    old = block(2, struct.pack("<HHIIII", 0, 0, 0, 7, len(frame()), 99) + frame())
    assert list(read(tmp_path, section() + interface() + old).length) == [99]


def test_an_fcs_that_the_capture_says_it_holds_is_not_counted(tmp_path: Path) -> None:
    assert list(read(tmp_path, pcap([(0, frame(), 64)], link=1 | 0x0400_0000 | 2 << 28)).length) == [60]
    assert list(
        read(tmp_path, section() + interface(option(13, b"\x04")) + enhanced(0, frame(), 64)).length
    ) == [60]
    flags = option(2, struct.pack("<I", 4 << 5))
    assert list(read(tmp_path, section() + interface() + enhanced(0, frame(), 64, options=flags)).length) == [
        60
    ]


def test_other_link_types_are_counted_as_ethernet_would_be(tmp_path: Path) -> None:
    ip = frame()[14:]
    assert list(read(tmp_path, pcap([(0, ip, 100)], link=101)).length) == [114]
    assert list(read(tmp_path, pcap([(0, bytes(14) + b"\x08\x00" + ip, 116)], link=113)).length) == [114]
    assert list(read(tmp_path, pcap([(0, b"\x08\x00" + bytes(18) + ip, 120)], link=276)).length) == [114]


def test_flows_are_told_apart_by_addresses_protocol_and_ports(tmp_path: Path) -> None:
    vlan = frame(7)[:12] + b"\x81\x00\x00\x05" + frame(7)[12:]
    fragment = bytearray(frame(8))
    fragment[20] = 0x20
    ipv6 = frame()[:12] + b"\x86\xdd\x60" + bytes(5) + b"\x06\x40" + bytes(32) + struct.pack(">HH", 7, 8)
    kinds = [
        frame(7),
        vlan,
        bytes(fragment),
        bytes(fragment[:34]) + bytes(8),
        ipv6,
        frame(kind=0x0806),
        b"",
        frame(7)[:30],
    ]
    found = read(tmp_path, pcap([(i, data, 90) for i, data in enumerate(kinds)], nano=True))
    assert list(found.flow) == [0, 0, 1, 1, 2, 3, 4, 5]


def test_packets_slightly_out_of_order_are_sorted(tmp_path: Path) -> None:
    found = read(
        tmp_path, pcap([(50_000, frame(1), 60), (20_000, frame(2), 61), (60_000, frame(1), 62)], nano=True)
    )
    assert list(found.time_ns) == [0, 30_000, 40_000]
    assert list(found.length) == [61, 60, 62]


def test_received_is_what_the_station_that_gets_most_would_receive(tmp_path: Path) -> None:
    broadcast = b"\xff" * 6
    stations = [
        frame(to=1, by=2),
        frame(to=2, by=1),
        broadcast + frame(by=2)[6:],
        broadcast + frame(by=1)[6:],
    ]
    found = read(
        tmp_path, pcap([(i, data, 1000 if i == 0 else 60) for i, data in enumerate(stations)], nano=True)
    )
    assert list(found.received) == [True, False, True, False]


def test_a_direction_that_the_capture_states_is_believed(tmp_path: Path) -> None:
    ways = [option(2, struct.pack("<I", way)) for way in (2, 1)]
    body = b"".join(enhanced(i, frame(), 60, options=way) for i, way in enumerate(ways))
    assert list(read(tmp_path, section() + interface() + body).received) == [False, True]


def test_the_shipped_capture_is_whole() -> None:
    found = read_capture(SHIPPED)
    assert 5000 < len(found.length) < 20_000
    assert found.length.max() == 1514
    assert found.flow.max() > 100
    assert 10**9 < found.time_ns[-1] < 10**10
    assert SHIPPED.stat().st_size < 2_000_000


# --- the cache


def test_a_second_reading_comes_from_the_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(tmp_path, pcap(PACKETS))
    monkeypatch.setattr(captures, "_parse", None)
    again = read_capture(tmp_path / "a.pcap")
    for name, column in vars(first).items():
        assert np.array_equal(column, getattr(again, name))
    assert [each.suffix for each in cache.iterdir()] == [".npz"]


@pytest.mark.parametrize("rubbish", [b"", b"PK\x03\x04rubbish", b"\x93NUMPY"])
def test_a_broken_cache_is_read_anew(tmp_path: Path, cache: Path, rubbish: bytes) -> None:
    first = read(tmp_path, pcap(PACKETS))
    (entry,) = cache.iterdir()
    entry.write_bytes(rubbish)
    assert np.array_equal(read_capture(tmp_path / "a.pcap").length, first.length)
    assert entry.read_bytes() != rubbish


def test_a_changed_capture_is_read_anew(tmp_path: Path) -> None:
    read(tmp_path, pcap(PACKETS))
    assert list(read(tmp_path, pcap(PACKETS[:1])).length) == [60]


def test_without_a_place_for_the_cache_captures_are_still_read(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert len(read(tmp_path, pcap(PACKETS)).length) == 3


def test_the_cache_does_not_grow_for_ever(tmp_path: Path, cache: Path) -> None:
    for length in range(60, 90):
        read(tmp_path, pcap([(0, frame(), length)]))
    assert len(list(cache.iterdir())) <= 16


# --- bad captures


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
    with pytest.raises(UserError, match=r"has 4294967297 bytes, more than 4294967296; cut it with `editcap"):
        read_capture(tmp_path / "large")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\xd4", "is no pcap or pcapng capture: it begins with d4"),
        (b"#!/bin/sh\necho", "is no pcap or pcapng capture: it begins with 23 21 2f 62"),
        (b"\x1f\x8b\x08\x00rest", "(gzip: unpack it first)"),
        (pcap(PACKETS)[:10], "header is cut short after 10 bytes"),
        (pcap([]), "has no packets"),
        (section() + interface(), "has no packets"),
        (pcap(PACKETS)[:-1], "packet 3: the file ends within the record that begins at byte"),
        (pcap(PACKETS)[:-45], "packet 3: the file ends within the record that begins at byte"),
        (pcapng(PACKETS)[:-1], "packet 3: the file ends within the record that begins at byte"),
        (pcapng(PACKETS)[:-70], "packet 3: the file ends within the record that begins at byte"),
        (section()[:20], "header is cut short"),
        (section()[:8] + bytes(20), "header is malformed"),
        (pcap([(0, frame(), 60)], snap=40), "packet 1: its captured length 42 is beyond the snap length 40"),
        (pcap([(0, frame(), 41)]), "packet 1: its captured length 42 is more than its length 41"),
        (pcap([(0, frame(), 1 << 31)]), "packet 1: its length 2147483648 is more than 262144 bytes"),
        (
            pcap([(2 * 10**9, frame(), 60), (10**9, frame(), 60)]),
            "packet 2: its time is 1000000000 ns before",
        ),
        (pcap([(0, frame(), 60)], link=147), "packet 1: its link type 147 is not Ethernet"),
        (
            pcap([]) + struct.pack("<IIII", 0, 10**6, 0, 0),
            "packet 1: its time has 1000000 fractions of a second",
        ),
        (
            pcap([]) + struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 60),
            "packet 1: its captured length 4294967295 is beyond",
        ),
        (section() + enhanced(0, frame(), 60), "packet 1: its interface 0 is not described; there are 0"),
        (
            section() + interface() + enhanced(0, frame(), 60, number=9),
            "its interface 9 is not described; there are 1",
        ),
        (
            section() + interface(snap=20) + enhanced(0, frame(), 60),
            "captured length 42 is beyond the snap length 20",
        ),
        (
            section() + interface() + block(6, struct.pack("<5I", 0, 0, 0, 99, 99)),
            "is beyond the 0 bytes of its block",
        ),
        (section() + interface() + block(6, b"1234"), "packet 1: the block at byte 48 is malformed"),
        (section() + block(1, b""), "packet 1: the block at byte 28 is malformed"),
        (
            section() + struct.pack("<II", 6, 0xFFFFFFF0),
            "block of 4294967268 bytes near byte 36 is longer than 1048576",
        ),
        (section() + struct.pack("<II", 6, 4), "packet 1: the block at byte 28 is malformed"),
        (section() + interface() * (MAX_INTERFACES + 1), f"describes more than {MAX_INTERFACES} interfaces"),
        (
            section()
            + interface(option(9, b"\0"))
            + enhanced(0, frame(), 60)
            + enhanced((1 << 64) - 1, frame(), 60),
            "packet 2: its time is 18446744073709551615 s after the first packet's",
        ),
    ],
)
def test_a_bad_capture_is_refused_by_name_packet_and_value(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    assert reason in refusal(tmp_path, content)


def test_a_refusal_says_what_would_do(tmp_path: Path) -> None:
    bad = pcap(PACKETS[:2]) + pcap([(2 * 10**18, frame(), 1)])[24:]
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
    monkeypatch.setattr(capture_files, "MAX_OTHER_BLOCKS", 1000)
    assert "more than 1000 blocks that hold no packet" in refusal(tmp_path, section() * 1100)


def test_too_many_packets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "MAX_PACKETS", 2)
    assert "packet 3: there are more than 2 packets; cut the file" in refusal(tmp_path, pcap(PACKETS))


def test_a_refused_capture_leaves_nothing_in_the_cache(tmp_path: Path, cache: Path) -> None:
    refusal(tmp_path, pcap(PACKETS)[:-1])
    assert not cache.exists()


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
