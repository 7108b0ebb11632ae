"""Captures are read as libpcap and Wireshark read them; where the two differ, as Wireshark does."""

from __future__ import annotations

import struct
from itertools import starmap
from pathlib import Path

import pytest
from support.made_up_captures import (
    PACKETS,
    SECOND,
    STEADY,
    block,
    enhanced,
    frame,
    interface,
    modified,
    option,
    pcap,
    pcapng,
    read,
    section,
    simple,
)

from vfbench.errors import UserError

cypcap = pytest.importorskip("cypcap")

pytestmark = pytest.mark.usefixtures("capture_cache")


def old_version(minor: int, lengths: list[tuple[int, int]]) -> bytes:
    """A savefile of version 2.<minor>, whose records say these two lengths; the first packet holds all its bytes."""
    out = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, minor, 0, 0, 262144, 1)
    return out + b"".join(struct.pack("<IIII", 1, i, *both) + frame() for i, both in enumerate(lengths))


ALIKE = {
    "pcap": pcap(PACKETS),
    "big endian, nanoseconds": pcap(PACKETS, ">", nano=True),
    "longer than the snap length": pcap(STEADY, snap=20),
    "no snap length": pcap(STEADY, snap=0),
    "captured more than there was": pcap([(0, frame(), 41), (SECOND, frame(), 60)]),
    "an original length of nothing": pcap([(0, b"", 0), (SECOND, frame(), 60)]),
    "a million microseconds": pcap([]) + struct.pack("<IIII", 0, 10**6 + 5, 42, 42) + frame()
    + pcap([(2 * SECOND, frame(), 42)])[24:],
    "version 2.2: lengths swapped": old_version(2, [(60, 42), (1514, 42)]),
    "version 2.3: lengths swapped by some": old_version(3, [(60, 42), (42, 60)]),
    "Kuznetsov's": modified(STEADY),
    "pcapng": pcapng(PACKETS),
    "pcapng, big endian": pcapng(PACKETS, ">", 6),
    "pcapng 1.2": block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 2, -1)) + interface()
    + enhanced(1, frame(), 60),
    "pcapng, captured more than there was": section() + interface() + enhanced(1, frame(), 41),
    "time offset": section() + interface(option(14, struct.pack("<q", 5))) + enhanced(10**6, frame(), 60),
    "two clocks": section() + interface() + interface(option(9, b"\x09")) + enhanced(10**6, frame(), 60)
    + enhanced(2 * 10**9, frame(), 60, number=1),
    "names of 2 MiB": section() + interface() + block(4, bytes(2 << 20)) + enhanced(1, frame(), 60),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALIKE)
def test_lengths_and_times_are_libpcaps(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, ALIKE[kind])
    with cypcap.open_offline(str(tmp_path / "a.pcap")) as peer:
        packets = [(header.ts, header.caplen, header.len) for header, _ in peer]
    # What was captured of a packet whose stated length is 0 is all that is known of it.
    assert list(found.length) == [max(1, length or captured) for _, captured, length in packets]
    assert list(found.time_ns / 1e9) == pytest.approx(
        [time - packets[0][0] for time, *_ in packets], abs=1e-6
    )


# What tshark 4.0.17 prints for frame.time_epoch and frame.len; libpcap refuses the first three.
AS_WIRESHARK = {
    "two link types": (
        section() + interface() + interface(link=113) + enhanced(1, frame(), 60)
        + enhanced(3, bytes(14) + b"\x08\x00" + frame()[14:], 62, number=1),
        [(1e-6, 60), (3e-6, 62 - 16 + 14)],
    ),
    "beyond an interface's snap length": (section() + interface(snap=20) + enhanced(1, frame(), 60), [(1e-6, 60)]),
    "sections of both byte orders": (
        section() + interface() + enhanced(10**6, frame(), 60)
        + section(">") + interface(b"", ">") + enhanced(2 * 10**6, frame(), 61, ">"),
        [(1.0, 60), (2.0, 61)],
    ),
    "a custom block of 3 MiB": (
        section() + interface() + block(0xBAD, struct.pack("<I", 5) + bytes(3 << 20)) + enhanced(1, frame(), 60),
        [(1e-6, 60)],
    ),
    "SuSE 6.3's": (modified(STEADY, 28), [(1.7e9 + i * 1e-4, 100) for i in range(20)]),
    "Red Hat 6.1's": (modified(STEADY, 24, 0xA1B2C3D4), [(1.7e9 + i * 1e-4, 100) for i in range(20)]),
    "Nokia's": (modified(STEADY, 20, 0xA1B2C3D4), [(1.7e9 + i * 1e-4, 100) for i in range(20)]),
    "a simple packet cut by the snap length": (
        section() + interface(snap=20) + enhanced(1, frame()[:20], 60) + simple(frame()[:20], 61),
        [(1e-6, 60), (1e-6, 61)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", AS_WIRESHARK)
def test_what_libpcap_refuses_is_read_as_wireshark_reads_it(tmp_path: Path, kind: str) -> None:
    content, expected = AS_WIRESHARK[kind]
    found = read(tmp_path, content)
    assert list(found.length) == [length for _, length in expected]
    assert list(found.time_ns / 1e9) == pytest.approx(
        [time - expected[0][0] for time, _ in expected], abs=2e-7
    )


REFUSED_BY_BOTH = {
    "a block whose length is not repeated": enhanced(1, frame(), 60)[:-4] + struct.pack("<I", 4),
    "a length that is no multiple of 4": struct.pack("<II", 6, 74) + enhanced(1, frame(), 60)[8:-6]
    + struct.pack("<I", 74),
    "an interface not described": enhanced(1, frame(), 60, number=3),
    "a simple packet shorter than it says": simple(frame()[:40], 60),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED_BY_BOTH)
def test_what_both_refuse_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.pcap").write_bytes(section() + interface() + REFUSED_BY_BOTH[kind])
    with pytest.raises(cypcap.Error), cypcap.open_offline(str(tmp_path / "a.pcap")) as peer:
        list(peer)
    with pytest.raises(UserError, match="packet 1: "):
        read(tmp_path, section() + interface() + REFUSED_BY_BOTH[kind])


def test_the_modified_format_says_which_way_a_packet_went(tmp_path: Path) -> None:
    """Linux's packet types (if_packet.h): 4 is outgoing."""
    assert not read(tmp_path, modified(STEADY, outgoing=True)).received.any()
    assert read(tmp_path, modified(STEADY)).received.all()


IP = frame()[14:]
# Bytes before an IP packet, and its ethertype or protocol, by tcpdump.org/linktypes.html.
LINK_HEADERS = {
    0: struct.pack("<I", 2),
    9: b"\x00\x21",
    12: b"",
    50: b"\xff\x03\x00\x21",
    51: bytes([0x11, 0, 0, 1, 0, 30]) + b"\x00\x21",
    100: b"\xaa\xaa\x03\0\0\0\x08\0",
    104: b"\x0f\0\x08\0",
    108: struct.pack(">I", 2),
    109: bytes(12),
    113: bytes(14) + b"\x08\0",
    122: bytes(16) + b"\xaa\xaa\x03\0\0\0\x08\0",
    138: bytes(16) + b"\x08\0",
    228: b"",
    276: b"\x08\0" + bytes(18),
}


@pytest.mark.parametrize("link", LINK_HEADERS)
def test_a_packet_counts_as_the_ethernet_frame_that_would_carry_it(tmp_path: Path, link: int) -> None:
    one, other = (LINK_HEADERS[link] + frame(port)[14:] for port in (1000, 1001))
    packets = [(i, data, len(data) + 100) for i, data in enumerate([one, other, one])]
    found = read(tmp_path, pcap(packets, nano=True, link=link))
    assert list(found.length) == [14 + len(IP) + 100] * 3
    assert list(found.flow) == [0, 1, 0]


def test_ppp_may_bring_its_address_and_control(tmp_path: Path) -> None:
    one, other = (b"\xff\x03\x00\x21" + frame(port)[14:] for port in (1, 2))
    found = read(tmp_path, pcap(list(starmap(lambda i, d: (i, d, len(d)), enumerate([one, other]))), link=9))
    assert (list(found.length), list(found.flow)) == ([14 + len(IP)] * 2, [0, 1])


def test_hilschers_frames_lose_their_header_preamble_and_fcs(tmp_path: Path) -> None:
    found = read(tmp_path, pcap([(0, bytes(4) + frame(), 4 + 64)], link=240))
    assert list(found.length) == [60]
    found = read(tmp_path, pcap([(0, bytes(12) + frame(), 12 + 64)], link=241))
    assert list(found.length) == [60]
