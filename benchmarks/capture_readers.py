"""What libraries that read captures make of the files that vfbench has to read.

    pip install cypcap dpkt pypcapkit python-pcapng scapy
    PYTHONPATH=tests python benchmarks/capture_readers.py

A row for each kind of file, a column for each library that is installed: `yes` where times to the nanosecond, captured
and original lengths all come out, else what comes out instead. vfbench reads captures by itself because no column is
full; once one is, vfbench/captures/pcap.py and pcapng.py can go.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import made_up_captures as made

Rows = list[tuple[int | None, int, int]]
"""Time in ns, captured and original length."""
FRAME = made.frame()
NS = 1_700_000_000_123_456_789


def files() -> dict[str, tuple[bytes, Rows]]:
    """By kind: the file, and what is in it."""
    one = made.enhanced(5, FRAME, 60)
    ns_clock = made.interface(made.option(9, b"\x09"))
    return {
        "pcap": (made.pcap([(5000, FRAME, 60)]), [(5000, 42, 60)]),
        "pcap, ns, big endian": (made.pcap([(NS, FRAME, 60)], ">", nano=True), [(NS, 42, 60)]),
        "pcap, Kuznetsov's": (made.modified([(5000, FRAME, 60)]), [(5000, 42, 60)]),
        "pcap, over its snap length": (made.pcap([(5000, FRAME, 60)], snap=20), [(5000, 42, 60)]),
        "pcapng": (made.section() + made.interface() + one, [(5000, 42, 60)]),
        "pcapng, ns": (made.section() + ns_clock + made.enhanced(NS, FRAME, 60), [(NS, 42, 60)]),
        "pcapng, time offset": (
            made.section() + made.interface(made.option(14, struct.pack("<q", 5))) + one,
            [(5 * 10**9 + 5000, 42, 60)],
        ),
        "pcapng, two link types": (
            made.section() + made.interface() + made.interface(link=113) + one + made.enhanced(6, FRAME, 61, number=1),
            [(5000, 42, 60), (6000, 42, 61)],
        ),
        "pcapng, two byte orders": (
            made.section() + made.interface() + one
            + made.section(">") + made.interface(b"", ">") + made.enhanced(6, FRAME, 61, ">"),
            [(5000, 42, 60), (6000, 42, 61)],
        ),
        "pcapng, simple packets": (
            made.section() + made.interface() + one + made.simple(FRAME),
            [(5000, 42, 60), (None, 42, 42)],
        ),
    }  # fmt: skip


def by_cypcap(path: str) -> Rows:
    import cypcap

    with cypcap.open_offline(path) as file:
        return [(round(header.ts * 10**9), header.caplen, header.len) for header, _ in file]


def by_dpkt(path: str) -> Rows:
    import dpkt

    with Path(path).open("rb") as file:  # it keeps no original length
        return [(round(time * 10**9), len(data), -1) for time, data in dpkt.pcap.UniversalReader(file)]


def by_pcapng(path: str) -> Rows:
    import pcapng

    with Path(path).open("rb") as file:
        packets = [each for each in pcapng.FileScanner(file) if hasattr(each, "packet_len")]
    times = [getattr(each, "timestamp", None) for each in packets]
    return [
        (None if time is None else round(time * 10**9), each.captured_len, each.packet_len)
        for time, each in zip(times, packets, strict=True)
    ]


def by_scapy(path: str) -> Rows:
    from scapy.utils import RawPcapReader

    rows: Rows = []
    for data, seen in RawPcapReader(path):
        if hasattr(seen, "tsresol"):
            ticks = None if seen.tshigh is None else (seen.tshigh << 32) + seen.tslow
            rows.append((None if ticks is None else ticks * 10**9 // seen.tsresol, len(data), seen.wirelen))
        else:
            per_s = 10**9 if seen.sec > 10**9 else 10**6
            rows.append((seen.sec * 10**9 + seen.usec * (10**9 // per_s), len(data), seen.wirelen))
    return rows


def by_pcapkit(path: str) -> Rows:
    import pcapkit

    frames = pcapkit.extract(fin=path, nofile=True, store=True).frame
    return [(round(each.info.time_epoch * 10**9), each.info.cap_len, each.info.len) for each in frames]


READERS: dict[str, Callable[[str], Rows]] = {
    "cypcap (libpcap)": by_cypcap,
    "dpkt": by_dpkt,
    "python-pcapng": by_pcapng,
    "scapy": by_scapy,
    "pypcapkit": by_pcapkit,
}


def answer(reader: Callable[[str], Rows], content: bytes, right: Rows) -> str:
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(content)
        file.flush()
        try:
            found: Any = reader(file.name)
        except ImportError:
            return "not installed"
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:60]}"
    return "yes" if found == right else f"{found}"


def main() -> None:
    for kind, (content, right) in files().items():
        print(kind)
        for name, reader in READERS.items():
            print(f"    {name:18}{answer(reader, content, right)}")


if __name__ == "__main__":
    main()
