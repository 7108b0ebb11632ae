"""What a workload puts on the wire, collected; run as a program, a digest of every workload's."""

from __future__ import annotations

import hashlib
import sys
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vfbench.machine.cpu import CPU
from vfbench.machine.memory.guest_memory import Memory
from vfbench.workload import APPLICATION, FRAMES, NEVER_PS, SOURCE, Workload

US, MS, S = 10**6, 10**9, 10**12
PS_PER_BYTE = 800  # 10 Gb/s
PAGE_BYTES = 4096
PUSH = 1 << 40
"""Of a TCP segment's tag, beside its number; the answer acknowledges all up to it."""


class Frames(NamedTuple):
    """Columns of int64, a row for each frame."""

    arrival_ps: NDArray[np.int64]
    length: NDArray[np.int64]
    flow: NDArray[np.int64]
    tag: NDArray[np.int64]

    @property
    def start_ps(self) -> NDArray[np.int64]:
        return self.arrival_ps - (self.length + 20) * PS_PER_BYTE


def new_source(
    workload: Workload, seed: int = 1, frames: int = 1 << 60, ps_per_byte: int = PS_PER_BYTE
) -> Any:
    """A peer's record as a testbed sets it up, and the arrays that it points to."""
    source = np.zeros(1, SOURCE).view(np.recarray)[0]
    source.ps_per_byte = ps_per_byte
    source.turnaround_ps = 20_000_000
    source.frame_bytes = 1518
    source.random = np.uint64(seed * 0x9E37_79B9_7F4A_7C15 % (1 << 64))
    source.frames_left = frames
    source.flows = workload.flows
    return source, workload.prepare(source)


def next_batch(workload: Workload, source: Any, horizon_ps: int = NEVER_PS) -> Frames:
    batch = np.zeros(1, FRAMES).view(np.recarray)[0]
    assert type(workload).arrivals(source, batch, horizon_ps) == 0
    n = int(batch.count)
    return Frames(*(np.array(batch[name][:n]) for name in ("arrival_ps", "length", "flow", "tag")))


def collect(workload: Workload, frames: int, seed: int = 1, horizon_ps: int = NEVER_PS) -> Frames:
    """The first ``frames`` frames before the horizon; a closed loop's requests are answered after 5 us."""
    source, kept = new_source(workload, seed, frames)
    batches = [Frames(*[np.zeros(0, dtype=np.int64)] * 4)]
    answers: list[tuple[int, int, int]] = []
    while True:
        is_open = type(workload).peer_received is Workload.peer_received
        step_ps = NEVER_PS if is_open else answers[0][0] if answers else int(source.next_ps) + 1
        batch = next_batch(workload, source, min(step_ps, horizon_ps))
        if not len(batch.length) and not answers:
            if is_open or int(source.next_ps) < step_ps or int(source.frames_left) == 0:
                break
            continue  # something else was due than a frame
        batches.append(batch)
        if not is_open:
            answers += [
                (int(at) + 5_000_000, int(flow), (int(tag) & ~PUSH) + 1)
                for at, flow, tag in zip(batch.arrival_ps, batch.flow, batch.tag, strict=True)
            ]
            at_ps, flow, source.reply_tag = answers.pop(0)
            type(workload).peer_received(source, at_ps, 64, flow)
    assert kept is not None
    return Frames(*(np.concatenate(column) for column in zip(*batches, strict=True)))


class Guest:
    """A processor and an application on a small memory, for ``delivered``."""

    def __init__(self, workload: Workload, heap_pages: int = 16) -> None:
        self.memory = Memory(64 * PAGE_BYTES, 64 * PAGE_BYTES)
        self.cpu = np.zeros(1, CPU).view(np.recarray)[0]
        self.memory.attach(self.cpu)
        self.application = np.zeros(1, APPLICATION).view(np.recarray)[0]
        self.application.heap, self.application.heap_pages = 8 * PAGE_BYTES, heap_pages
        self.application.send_share_65536 = round(workload.send_ratio * 65536)
        self.kept = workload.prepare_application(self.application)
        self.workload = workload

    def deliver(self, length: int, tag: int) -> int:
        return int(type(self.workload).delivered(self.cpu, self.application, length, tag))

    def dirty_pages(self) -> list[int]:
        return [int(page) for page in np.flatnonzero(self.memory.marks)]


def digest(workload: Workload, frames: int) -> str:
    """Over the frames, what the application answers, and what it wrote."""
    found = collect(workload, frames)
    guest = Guest(workload)
    answers = [guest.deliver(int(n), int(t)) for n, t in zip(found.length, found.tag, strict=True)]
    columns = [*found, np.array(answers, dtype=np.int64), guest.memory.words]
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in columns)).hexdigest()


if __name__ == "__main__":
    from workloads import ALL_WORKLOADS

    for each in ALL_WORKLOADS:
        sys.stdout.write(f"{each.name} {digest(each(), 2500)}\n")


def offered_bps(frames: Frames) -> float:
    """From the first frame's start to the last one's; the last frame itself is not counted."""
    return int((frames.length[:-1] + 20).sum()) * 8 * S / int(frames.start_ps[-1] - frames.start_ps[0])
