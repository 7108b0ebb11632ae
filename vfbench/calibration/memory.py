"""What the processor and its caches cost: the clock, dummy writes, copies of packets, walks of tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vfbench.calibration import loops
from vfbench.calibration.measurement import Probe

LINE_BYTES: Final = 64
PAGE_BYTES: Final = 4096
HALF_PAGE_BYTES: Final = 2048
L1_LINES: Final = 64
PACKET_BYTES: Final = (64, 128, 256, 512, 1024, 1512)
DEFAULT_L2_BYTES: Final = 1 << 20
ENTRIES: Final = 1 << 18
WORDS_PER_GIB: Final = 4096
BITMAP_GIB: Final = 64
_CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")
_SEED: Final = 82599

Words = npt.NDArray[np.int64]


def timed_ns(call: Callable[[], object]) -> int:
    """Processor time that a call takes, its system calls included: on a busy machine others' time is not in it."""
    began = time.thread_time_ns()
    call()
    return time.thread_time_ns() - began


def l2_bytes() -> int:
    """Size of the second-level cache, 1 MiB where the kernel does not tell."""
    for index in sorted(_CACHES.glob("index*")):
        try:
            if (index / "level").read_text().strip() == "2":
                return int((index / "size").read_text().strip().removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return DEFAULT_L2_BYTES


def beyond_l2_bytes() -> int:
    """A pool that the second-level cache can't hold, small enough for a last-level cache: four times the L2."""
    return 4 * l2_bytes()


def ring_of_lines(lines: int, stride_bytes: int) -> Words:
    """Lines `stride_bytes` apart that lead from one to the next in random order and back to the first."""
    memory: Words = np.zeros(lines * stride_bytes // 8, dtype=np.int64)
    order = np.random.default_rng(_SEED).permutation(lines)
    addresses = memory.ctypes.data + order * stride_bytes
    memory[(order * stride_bytes + loops.NEXT_OFFSET) // 8] = np.roll(addresses, -1)
    return memory


class PacketPool:
    """Packets in half pages that the second-level cache can't hold, in random order, and where to copy them."""

    def __init__(self, scattered_targets: bool) -> None:
        rng = np.random.default_rng(_SEED)
        pool_bytes = beyond_l2_bytes()
        self.count = pool_bytes // HALF_PAGE_BYTES
        self._from = np.ones(pool_bytes // 8, dtype=np.int64)
        self._to = np.ones(pool_bytes // 8, dtype=np.int64)
        halves = rng.permutation(self.count) * HALF_PAGE_BYTES
        targets = rng.permutation(self.count) if scattered_targets else np.arange(self.count) % 4
        self.sources: Words = self._from.ctypes.data + halves
        self.targets: Words = self._to.ctypes.data + targets * HALF_PAGE_BYTES

    def fixed_and_per_byte_ns(self) -> tuple[float, float]:
        """A straight line through the time per packet over its size: what each costs, and each of its bytes."""
        per_packet = []
        for size in PACKET_BYTES:
            arguments = (self.sources.ctypes.data, self.targets.ctypes.data, self.count, size // 8)
            per_packet.append(timed_ns(lambda a=arguments: loops.copy_packets(*a)) / self.count)  # type: ignore[misc]
        slope, intercept = np.polyfit(PACKET_BYTES, per_packet, 1)
        return max(0.0, float(intercept)), float(slope)


def memory_probes() -> Iterator[Probe]:
    """Every probe of processor and caches."""
    yield _clock()
    yield from _dummy_writes()
    yield from _copies()
    yield from _walks()


def _clock() -> Probe:
    rounds = 1 << 18
    method = "time of a chain of operations that take one cycle each and wait for one another"

    def sample() -> float:
        return rounds * loops.CYCLES_PER_ROUND / timed_ns(lambda: loops.depend(rounds, 82599))

    return Probe("cpu_frequency", "GHz", method, sample)


def _dummy_writes() -> Iterator[Probe]:
    near = np.zeros(L1_LINES * LINE_BYTES // 8 + 8, dtype=np.int64)
    far = ring_of_lines(beyond_l2_bytes() // LINE_BYTES, LINE_BYTES)
    rounds, steps = 1 << 11, 1 << 15

    def per_touch(loop: Any) -> float:
        return timed_ns(lambda: loop(near.ctypes.data, L1_LINES, rounds)) / (L1_LINES * rounds)

    def per_step(loop: Any) -> float:
        return timed_ns(lambda: loop(far.ctypes.data, steps)) / steps

    yield Probe(
        "touch_cached",
        "ns",
        f"a byte read and written back in each of {L1_LINES} lines of the first-level cache, in turn",
        lambda: per_touch(loops.touch_lines),
    )
    yield Probe(
        "touch_atomic_extra",
        "ns",
        "the same as one locked instruction, less the figure without lock",
        lambda: max(0.0, per_touch(loops.touch_lines_atomically) - per_touch(loops.touch_lines)),
    )
    beyond = f"{beyond_l2_bytes() >> 20} MiB, four times the second-level cache, in random order"
    yield Probe(
        "touch_uncached",
        "ns",
        f"a byte read and written back in lines spread over {beyond}, each known only after the one before",
        lambda: per_step(loops.chase_and_touch),
    )
    yield Probe(
        "descriptor_read",
        "ns",
        f"a load from lines spread over {beyond}, each known only after the one before; no device wrote them",
        lambda: per_step(loops.chase),
    )


def _copies() -> Iterator[Probe]:
    near, scattered = PacketPool(False), PacketPool(True)
    sizes = f"{PACKET_BYTES[0]} to {PACKET_BYTES[-1]} bytes"
    line = f"straight line through the time to copy packets of {sizes} (rep movs) from beyond the second-level cache"
    yield Probe("skb_copy_fixed", "ns", f"{line}, at no bytes", lambda: near.fixed_and_per_byte_ns()[0])
    yield Probe(
        "copy_rate",
        "bytes_per_us",
        f"{line} into it, by its slope",
        lambda: 1000 / max(1e-3, near.fixed_and_per_byte_ns()[1]),
    )
    yield Probe(
        "vhost_copy_rate",
        "bytes_per_us",
        f"{line} to as many scattered half pages, by its slope",
        lambda: 1000 / max(1e-3, scattered.fixed_and_per_byte_ns()[1]),
    )


def _walks() -> Iterator[Probe]:
    pages = np.random.default_rng(_SEED).permutation(ENTRIES).astype(np.int64)
    table: Words = pages << 12 | loops.PRESENT
    marks = np.zeros(ENTRIES, dtype=np.uint8)
    bitmap = np.zeros(BITMAP_GIB * WORDS_PER_GIB, dtype=np.int64)
    yield Probe(
        "page_table_walk_per_entry",
        "ns",
        f"{ENTRIES} entries of a mapped flat table in order, a byte marked for each entry's page; how a hypervisor "
        "finds the table in guest memory is not in it, so it is less than iommu_table_walk_entry",
        lambda: timed_ns(lambda: loops.walk_entries(table.ctypes.data, ENTRIES, marks.ctypes.data)) / ENTRIES,
        belongs=False,
    )
    yield Probe(
        "dirty_bitmap_pass_per_gib",
        "ns",
        "one pass of user space over the 4096 words of the bitmap of 1 GiB, no bit set",
        lambda: timed_ns(lambda: loops.scan_bitmap(bitmap.ctypes.data, bitmap.size)) / BITMAP_GIB,
        belongs=False,
    )
