"""Captures: every format is read alike, and read once."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from support.made_up_captures import (
    PACKETS,
    SHIPPED,
    block,
    enhanced,
    frame,
    interface,
    option,
    pcap,
    pcapng,
    read,
    section,
)

from vfbench import captures
from vfbench.captures import read_capture

pytestmark = pytest.mark.usefixtures("capture_cache")


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


def test_a_second_reading_comes_from_the_cache(
    tmp_path: Path, capture_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(tmp_path, pcap(PACKETS))
    monkeypatch.setattr(captures, "_parse", None)
    again = read_capture(tmp_path / "a.pcap")
    for name, column in vars(first).items():
        assert np.array_equal(column, getattr(again, name))
    assert [each.suffix for each in capture_cache.iterdir()] == [".npz"]


@pytest.mark.parametrize("rubbish", [b"", b"PK\x03\x04rubbish", b"\x93NUMPY"])
def test_a_broken_cache_is_read_anew(tmp_path: Path, capture_cache: Path, rubbish: bytes) -> None:
    first = read(tmp_path, pcap(PACKETS))
    (entry,) = capture_cache.iterdir()
    entry.write_bytes(rubbish)
    assert np.array_equal(read_capture(tmp_path / "a.pcap").length, first.length)
    assert entry.read_bytes() != rubbish


def test_a_changed_capture_is_read_anew(tmp_path: Path) -> None:
    read(tmp_path, pcap(PACKETS))
    assert list(read(tmp_path, pcap(PACKETS[:1])).length) == [60]


def test_without_a_place_for_the_cache_captures_are_still_read(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert len(read(tmp_path, pcap(PACKETS)).length) == 3


def test_the_cache_does_not_grow_for_ever(tmp_path: Path, capture_cache: Path) -> None:
    for length in range(60, 90):
        read(tmp_path, pcap([(0, frame(), length)]))
    assert len(list(capture_cache.iterdir())) <= 16
