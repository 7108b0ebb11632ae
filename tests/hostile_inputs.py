"""Mutated inputs by the thousand: read or refused in a line, never a crash, a hang, or more than a GiB.

    PYTHONPATH=.:tests python tests/hostile_inputs.py 100000          # minutes; --seed N, --only captures
    PYTHONPATH=.:tests python tests/hostile_inputs.py --replay captures 4711   # one of them again

Each input is a good one with bytes changed, cut out, repeated or exchanged for edge values, by a random number that is
printed where something goes wrong. `tests/command/test_hostile_inputs.py` runs a few hundred of each.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import lzma
import random
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
from support.fakes import experiment
from support.made_up import outcome, write
from support.made_up_captures import PACKETS, STEADY, modified, pcap, pcapng, section, simple

from vfbench.captures import cache, read_capture
from vfbench.errors import RunFailed, UserError
from vfbench.profiles import load_profile
from vfbench.records import read_records
from vfbench.sweeps.grid import read_grids
from vfbench.testbeds.kvm.migrate import stream

LONGEST_S = 10
ROOT = Path(__file__).parents[1]
EDGES = [
    bytes(4),
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
    b"[[[[[[",
    b"9" * 400,
    b'"',
    b"\n",
    b"{",
    b"\x1b]0;",
]


def mutated(good: bytes, choice: random.Random) -> bytes:
    """One to six changes."""
    content = bytearray(good)
    for _ in range(choice.randint(1, 6)):
        at = choice.randrange(len(content) + 1)
        end = min(len(content), at + choice.choice([1, 2, 4, 8, 64, 1000]))
        match choice.randrange(6):
            case 0:
                content[at:end] = choice.randbytes(end - at)
            case 1:
                del content[at:end]
            case 2:
                content[at:at] = content[at:end] * choice.choice([1, 2, 50])
            case 3:
                content[at : at + 4] = choice.choice(EDGES)
            case 4 if at < len(content):
                content[at] ^= 1 << choice.randrange(8)
            case _:
                other = choice.randrange(len(content) + 1)
                content[at:at] = content[other : other + 64]
    return bytes(content)


def captures(folder: Path, choice: random.Random) -> None:
    kinds = [
        pcap(PACKETS),
        pcap(STEADY, ">", nano=True),
        pcapng(STEADY),
        pcapng(PACKETS, ">", 6),
        modified(STEADY),
    ]
    good = choice.choice([*kinds, section() + simple(PACKETS[0][1])])
    content = mutated(good, choice)
    pack = choice.choice([bytes, bytes, bytes, gzip.compress, lzma.compress])
    content = pack(content)
    if pack is not bytes and choice.random() < 0.5:
        content = mutated(content, choice)
    (folder / "a.pcap").write_bytes(content)
    read_capture(folder / "a.pcap")


def grids(folder: Path, choice: random.Random) -> None:
    good = (ROOT / "sweeps" / choice.choice(["argument.toml", "quick.toml"])).read_bytes()
    (folder / "a.toml").write_bytes(mutated(good, choice))
    read_grids(folder / "a.toml")


def profiles(folder: Path, choice: random.Random) -> None:
    good = (ROOT / "vfbench" / "profiles" / "power8.toml").read_bytes()
    (folder / "a.toml").write_bytes(mutated(good, choice))
    load_profile(folder / "a.toml")


def records(folder: Path, choice: random.Random) -> None:
    """A manifest or a table of a record."""
    place = folder / "results"
    if not place.exists():
        write(place, experiment(), outcome(8.0))
    path = choice.choice([*place.rglob("manifest.json")] * 6 + [*place.rglob("*.parquet")])
    good = path.read_bytes()
    path.write_bytes(mutated(good, choice) if choice.random() < 0.5 else _other_value(path, good, choice))
    try:
        for record in read_records(place):
            json.dumps(record.settings)
    finally:
        path.write_bytes(good)


def _other_value(path: Path, good: bytes, choice: random.Random) -> bytes:
    """A manifest with another type of value somewhere: what changed bytes seldom come to."""
    if path.suffix != ".json":
        return mutated(good, choice)
    document = json.loads(good)
    part = document
    while True:
        key = choice.choice(list(part))
        if isinstance(part[key], dict) and part[key] and choice.random() < 0.7:
            part = part[key]
            continue
        part[key] = choice.choice([None, [], [1], {}, {"a": []}, -1, 1 << 70, 0.5, "", True, "\x1b]0;a\x07"])
        return json.dumps(document).encode()


def streams(_folder: Path, choice: random.Random) -> None:
    """What a source sends, as the destination hears it."""
    memory = np.zeros((64, stream.PAGE_BYTES), np.uint8)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = stream.Stream(theirs, "the source")
        sender.send_json(stream.VF_STATE, {"registers": [1, 2, 3]})
        sender.send_pages(memory, np.arange(4, dtype=np.int64))
        sender.send_pages(memory, np.array([1, 5, 9], dtype=np.int64))
        theirs.shutdown(socket.SHUT_WR)
        good = b"".join(iter(lambda: ours.recv(1 << 20), b""))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(mutated(good, choice)[:100_000])
        theirs.shutdown(socket.SHUT_WR)
        receiver = stream.Stream(ours, "the source")
        while True:
            kind, length = receiver.receive_header()
            if kind == stream.PAGES:
                receiver.receive_pages(memory, length)
            else:
                receiver.fill(memoryview(bytearray(length)))


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    each.__name__: each for each in (captures, grids, profiles, records, streams)
}
SHARES = {"captures": 0.4, "grids": 0.15, "profiles": 0.1, "records": 0.2, "streams": 0.15}


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"took longer than {LONGEST_S} s")


def one(kind: str, number: int, folder: Path) -> str:
    """What became of an input: `read` or `refused`; anything else is raised."""
    signal.alarm(LONGEST_S)
    try:
        KINDS[kind](folder, random.Random(f"{kind} {number}"))
    except (UserError, RunFailed) as refusal:
        if "\n" in str(refusal) or not str(refusal):
            raise AssertionError(f"no single line: {str(refusal)[:200]!r}") from refusal
        return "refused"
    finally:
        signal.alarm(0)
    return "read"


def many(kind: str, first: int, count: int) -> dict[str, int]:
    """How many of these were read, and how many refused; AssertionError with the number of the first that crashed."""
    signal.signal(signal.SIGALRM, _too_long)
    found = {"read": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        known = cache.user_cache_path
        stack.callback(setattr, cache, "user_cache_path", known)
        (Path(name) / "no folder").touch()
        cache.user_cache_path = lambda _: Path(name) / "no folder"  # type: ignore[assignment]
        for number in range(first, first + count):
            try:
                found[one(kind, number, Path(name))] += 1
            except Exception as error:
                raise AssertionError(f"--replay {kind} {number}: {type(error).__name__}: {error}") from error
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--replay", nargs=2, metavar=("KIND", "NUMBER"))
    words = parser.parse_args()
    if words.replay:
        print(many(words.replay[0], int(words.replay[1]), 1))
        return 0
    for kind in [words.only] if words.only else KINDS:
        count = words.count if words.only else round(words.count * SHARES[kind])
        began = time.monotonic()
        found = many(kind, words.seed * 10**9, count)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{kind:9} {count:7} inputs: {found['read']} read, {found['refused']} refused, "
              f"{time.monotonic() - began:.0f} s, at most {peak_mib:.0f} MiB", flush=True)  # fmt: skip
        if peak_mib > 1024:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
