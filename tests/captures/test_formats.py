"""What is neither pcap nor pcapng is said by its name."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from support.made_up_captures import refusal

pytestmark = pytest.mark.usefixtures("capture_cache")


def erf(records: int) -> bytes:
    """Endace's records: a time in 1/2^32 s, little endian; type 2 is Ethernet (Wireshark's erf.h)."""
    head = [struct.pack("<QBBHHH", (1_700_000_000 + i) << 32, 2, 4, 0, 0, 0)[:10] for i in range(records)]
    return b"".join(each + struct.pack(">HHH", 118, 0, 104) + bytes(102) for each in head)


# The first bytes of what `editcap -F` of Wireshark 4.0.17 writes.
AS_EDITCAP_WRITES = {
    "Accellent 5Views": "aaaaaaaa2000000000000100180000000010001800000000",
    "Tektronix K12xx text": "2b2d2d2d2d2d2d2d2d2d2b2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2b2d2d2d2d2d2d2d2d2d2d2b0a",
    "Novell LANalyzer": "01104c000105547261636520446973706c61792054726163",
    "Microsoft Network Monitor 1": "5254535301010100e7070b0002000e0016000d0014000000",
    "Microsoft Network Monitor 2": "474d425500020100e7070b0002000e0016000d0014000000",
    "HP-UX nettl": "5452006400000000000000802f746d702f77697265736861",
    "Sniffer (DOS)": "5452534e4946462064617461202020201a01001200000004",
    "Sniffer (Windows)": "584350003030322e3030310000f15365c800000000000000",
    "Network Instruments Observer": "4f62736572766572506b7442756666657256657273696f6e3d30392e30302e3030",
    "Sun snoop": "736e6f6f7000000000000002000000040000006400000064",
    "Visual Networks": "05564e46c800000000f153650600ffff0100010000000000",
    "TamoSoft CommView": "6400640000e7070b0e160d14000000000000000000000000",
}


@pytest.mark.parametrize("name", AS_EDITCAP_WRITES)
def test_other_capture_formats_are_named_with_their_converter(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, bytes.fromhex(AS_EDITCAP_WRITES[name]) + bytes(200))
    assert message.endswith(f"the format of {name}, not pcap or pcapng; `editcap IN OUT` converts it")


def test_erf_is_known_by_its_records(tmp_path: Path) -> None:
    assert "is a capture in Endace's ERF" in refusal(tmp_path, erf(3))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"PK\x03\x04" + bytes(30), "is a zip archive; unpack it first"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(30), "is a 7-Zip archive"),
        (b"capture.pcap".ljust(257, b"\0") + b"ustar\x0000" + bytes(300), "is a tar archive"),
        (b"\x02\x21\x4c\x18" + bytes(30), "is in LZ4's legacy format"),
        (b"\xa1\xb2\xc3\xd4\0\1\0\0" + bytes(40), "is pcap of version 1.0"),
        (
            struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 0x10001),
            "link type 0x10001 has reserved bits",
        ),
    ],
)
def test_what_else_is_no_capture_is_said(tmp_path: Path, content: bytes, name: str) -> None:
    assert name in refusal(tmp_path, content)
