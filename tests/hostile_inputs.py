"""Mutated inputs by the thousand: read or refused in a line, never a crash, a hang, or more than a GiB.

    PYTHONPATH=.:tests python tests/hostile_inputs.py 100000 --jobs 2      # minutes; --seed N, --only captures
    PYTHONPATH=.:tests python tests/hostile_inputs.py --replay captures 4711   # one of them again

Each input is a good one with bytes changed, cut out, repeated or exchanged for edge values, by a random number that is
printed where something goes wrong. Workers stay and are given a GiB of data each (RLIMIT_DATA), so that what asks for
more crashes. `tests/command/test_hostile_inputs.py` runs a few hundred of each.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from types import FrameType

import numpy as np
import pyarrow
from support.fakes import experiment
from support.made_up import outcome, write
from support.made_up_captures import PACKETS, STEADY, modified, pcap, pcapng, section, simple

import cli
from vfbench.captures import cache, read_capture
from vfbench.errors import RunFailed, UserError
from vfbench.profiles import load_profile
from vfbench.records import read_records
from vfbench.sweeps.cells import cells_of
from vfbench.sweeps.grid import read_grids
from vfbench.testbeds.kvm.migrate import stream

os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
"""Arrow's usual one reserves a GiB that it does not use; workers read this when they load it."""
LONGEST_CPU_S, LONGEST_WALL_S = 10, 60
MOST_BYTES = 1 << 30
AT_ONCE, CHUNKS_OF_A_WORKER = 250, 20
"""A worker is given so many inputs, so many times: Arrow loses some kB with each stream that ends in an error."""
COMMANDS = 0.1
"""The share of readable records that are then shown, reported, compared or packed."""
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
    for _ in range(choice.randint(1, choice.choice([1, 6]))):
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
    pack = choice.choice([bytes] * 5 + [gzip.compress, bz2.compress, lzma.compress, zstd, lz4])
    content = pack(content)
    if pack is not bytes and choice.random() < 0.5:
        content = mutated(content, choice)
    (folder / "a.pcap").write_bytes(content)
    read_capture(folder / "a.pcap")


def zstd(content: bytes) -> bytes:
    return bytes(pyarrow.Codec("zstd").compress(content, asbytes=True))


def lz4(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "lz4") as packing:
        packing.write(content)
    return bytes(sink.getvalue())


def grids(folder: Path, choice: random.Random) -> None:
    """A short one goes on to its cells, where the values come to mean something."""
    name = choice.choice(["argument.toml", "today.toml", "faults.toml", "quick.toml", "quick.toml"])
    (folder / "a.toml").write_bytes(mutated((ROOT / "sweeps" / name).read_bytes(), choice))
    read = read_grids(folder / "a.toml")
    if name == "quick.toml":
        cells_of(read, cli._strategies(), cli._workloads())


def profiles(folder: Path, choice: random.Random) -> None:
    name = choice.choice(["power8.toml", "modern-25g.toml", "xeon-82599.toml"])
    good = (ROOT / "vfbench" / "profiles" / name).read_bytes()
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
        if choice.random() < COMMANDS:
            _shown(place, folder, choice)
    finally:
        path.write_bytes(good)


def _shown(place: Path, folder: Path, choice: random.Random) -> None:
    """What could be read can be shown, whatever it says."""
    set_, page = str(place), str(folder / "page")
    words = choice.choice(
        [
            ["show", set_],
            ["show", set_, "--json"],
            ["report", set_, "--format", "md", "-o", "-"],
            ["compare", set_, set_, "--fail-over", "5%"],
            ["pack", set_, "-o", page, "--force"],
        ]
    )
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        code = cli.main(words)
    if code not in (0, 1, cli.EXIT_USER_ERROR):
        raise AssertionError(f"bench {' '.join(words)}: exit code {code}: {said.getvalue()[-500:]}")


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
        sender.send_json(stream.DONE, {"exits": 3})
        theirs.shutdown(socket.SHUT_WR)
        good = b"".join(iter(lambda: ours.recv(1 << 20), b""))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        theirs.sendall(mutated(good, choice)[:100_000])
        theirs.shutdown(socket.SHUT_WR)
        receiver = stream.Stream(ours, "the source")
        for _ in range(1000):
            kind, length = receiver.receive_header()
            if kind == stream.PAGES:
                receiver.receive_pages(memory, length)
            elif kind == stream.DONE:
                payload = bytearray(length)
                receiver.fill(memoryview(payload))
                stream.parsed(payload, "the source")
                return
            else:
                receiver.fill(memoryview(bytearray(length)))


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    each.__name__: each for each in (captures, grids, profiles, records, streams)
}
SHARES = {"captures": 0.4, "grids": 0.15, "profiles": 0.1, "records": 0.2, "streams": 0.15}


class TooLong(BaseException):
    """Not an Exception, let alone an OSError: nobody may take it for a fault of the input."""


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TooLong(f"took longer than {LONGEST_CPU_S} s of processor time, or than {LONGEST_WALL_S} s")


def one(kind: str, number: int, folder: Path) -> str:
    """What became of an input: `read` or `refused`; anything else is raised."""
    signal.setitimer(signal.ITIMER_PROF, LONGEST_CPU_S)
    signal.alarm(LONGEST_WALL_S)
    try:
        KINDS[kind](folder, random.Random(f"{kind} {number}"))
    except (UserError, RunFailed) as refusal:
        if "\n" in str(refusal) or not str(refusal):
            raise AssertionError(f"no single line: {str(refusal)[:200]!r}") from refusal
        return "refused"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return "read"


def many(kind: str, first: int, count: int) -> dict[str, int]:
    """How many of these were read, and how many refused; AssertionError with the number of the first that crashed."""
    for each in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(each, _too_long)
    found = {"read": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        known = cache.user_cache_path
        stack.callback(setattr, cache, "user_cache_path", known)
        (Path(name) / "no folder").touch()
        cache.user_cache_path = lambda _: Path(name) / "no folder"  # type: ignore[assignment]
        for number in range(first, first + count):
            try:
                found[one(kind, number, Path(name))] += 1
            except (Exception, TooLong) as error:
                raise AssertionError(f"--replay {kind} {number}: {type(error).__name__}: {error}") from error
    return found


def chunk(kind: str, first: int, count: int) -> tuple[dict[str, int], float]:
    """What `many` gives, and the most memory that this worker has had so far, in MiB."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, resource.RLIM_INFINITY))
    found = many(kind, first, count)
    return found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tried(kind: str, first: int, count: int, pool: Pool) -> str:
    """The line of a kind."""
    began = time.monotonic()
    firsts = range(first, first + count, AT_ONCE)
    chunks = [(kind, each, min(AT_ONCE, first + count - each)) for each in firsts]
    results = pool.starmap(chunk, chunks, chunksize=1)
    read, refused = (sum(found[name] for found, _ in results) for name in ("read", "refused"))
    peak_mib = max(peak for _, peak in results)
    took_s = time.monotonic() - began
    return (
        f"{kind:9} {read + refused:7} inputs: {read} read, {refused} refused, "
        f"{took_s:.0f} s, at most {peak_mib:.0f} MiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--replay", nargs=2, metavar=("KIND", "NUMBER"))
    words = parser.parse_args()
    if words.replay:
        print(many(words.replay[0], int(words.replay[1]), 1))
        return 0
    for kind in [words.only] if words.only else KINDS:
        count = words.count if words.only else round(words.count * SHARES[kind])
        # Not concurrent.futures: in Python 3.11 it waits for ever once it has to change its workers.
        with get_context("spawn").Pool(words.jobs, maxtasksperchild=CHUNKS_OF_A_WORKER) as pool:
            print(tried(kind, words.seed * 10**9, count, pool), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
