"""Compressed captures are read as they are, whatever their name, and are the same input."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from support.made_up_captures import PACKETS, STEADY, pcap, pcapng, read, refusal

from vfbench.captures import stream

pytestmark = pytest.mark.usefixtures("capture_cache")


def by_arrow(codec: str) -> Callable[[bytes], bytes]:
    """Frames with a content size and an end mark, as the command-line tools write them."""

    def compress(content: bytes) -> bytes:
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, codec) as out:
            out.write(content)
        return sink.getvalue().to_pybytes()

    return compress


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "Zstandard": by_arrow("zstd"),
    "LZ4": by_arrow("lz4"),
}


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("content", [pcap(STEADY), pcapng(STEADY)], ids=["pcap", "pcapng"])
def test_a_compressed_capture_is_the_capture(tmp_path: Path, name: str, content: bytes) -> None:
    plain, packed = read(tmp_path, content), read(tmp_path, COMPRESS[name](content))
    assert list(packed.time_ns) == list(plain.time_ns)
    assert packed.sha256 == plain.sha256


@pytest.mark.parametrize("name", COMPRESS)
def test_members_in_a_row_are_one_capture(tmp_path: Path, name: str) -> None:
    """As parallel compressors and `cat` leave them (RFC 1952, 2.2; RFC 8878, 3.1)."""
    content = pcap(STEADY)
    pieces = [content[:3], content[3:500], content[500:]]
    assert len(read(tmp_path, b"".join(map(COMPRESS[name], pieces))).length) == len(STEADY)


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_zeros_behind_a_member_are_padding(tmp_path: Path, name: str) -> None:
    assert len(read(tmp_path, COMPRESS[name](pcap(STEADY)) + bytes(1024)).length) == len(STEADY)


def test_a_skippable_frame_comes_before_what_pzstd_writes(tmp_path: Path) -> None:
    frame = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert len(read(tmp_path, frame + COMPRESS["Zstandard"](pcap(STEADY))).length) == len(STEADY)


@pytest.mark.parametrize("name", COMPRESS)
def test_what_is_cut_short_or_damaged_is_refused(tmp_path: Path, name: str) -> None:
    packed = COMPRESS[name](pcap(STEADY * 50))
    assert f"its {name} data are damaged after " in refusal(tmp_path, packed[:-5])
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    assert "capture" in refusal(tmp_path, bytes(damaged))


@pytest.mark.parametrize("name", COMPRESS)
def test_what_unfolds_without_end_is_ended(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_UNFOLDED_BYTES", 4 << 20)
    record = pcap([(0, bytes(262_144), 262_144)])[24:]
    packed = COMPRESS[name](pcap([]) + record * 40)
    assert len(packed) < 1 << 20
    tracemalloc.start()
    assert "it unfolds to more than 4194304 bytes; shorten its packets with" in refusal(tmp_path, packed)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


def test_xz_may_not_ask_for_all_memory(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    packed = lzma.compress(pcap(PACKETS), filters=filters)
    assert "its xz data are damaged after 0 bytes: Memory usage limit exceeded" in refusal(tmp_path, packed)


def test_compressed_twice_is_said(tmp_path: Path) -> None:
    assert "is compressed twice: xz within gzip; unpack it once" in refusal(
        tmp_path, gzip.compress(lzma.compress(pcap(PACKETS)))
    )


@pytest.mark.parametrize("name", COMPRESS)
def test_what_holds_no_capture_is_said(tmp_path: Path, name: str) -> None:
    assert f"begins with 68 65 6c 6c within {name}" in refusal(tmp_path, COMPRESS[name](b"hello"))
    assert "is no pcap" in refusal(tmp_path, COMPRESS[name](b""))
