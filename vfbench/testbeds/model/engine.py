"""Virtual time: peer, queues, the guest's other work and the migration thread, each by its own clock.

Time passes in slices. Within a slice the peer's frames are known in advance (an open loop) or can't depend on
what happens in it (a closed loop, whose slices are shorter than the peer's turn-around), so the queues run one
after the other through the same stretch of time, and inside a queue device and vCPU interleave packet by packet.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.kernels import call_hook, kernel
from vfbench.machine.costs import INVALIDATION_LOCKED
from vfbench.machine.cpu import sleep_until, store
from vfbench.machine.driver.poll import run_queue
from vfbench.machine.memory.guest_memory import CONTENT, PAGE_SHIFT, SENT
from vfbench.machine.vf.device import copy_frame
from vfbench.machine.wire import BATCH_FRAMES
from vfbench.testbeds.model.sharing import share
from vfbench.workload import next_random

ENGINE = np.dtype(
    [
        ("now_ps", "i8"),
        ("slice_ps", "i8"),
        ("shared_ps", "i8"),  # when the queues' parts of what they share were last settled
        ("queues", "i8"),
        ("sequence", "i8"),
        ("arrivals", "i8"),  # address of the workload's kernel
        ("peer_received", "i8"),
        # the guest's other work, on a vCPU of its own
        ("random", "u8"),
        ("writer_gap_ps", "i8"),  # 0: it writes nothing
        ("writer_base", "i8"),
        ("writer_pages", "i8"),
        ("writer_count", "i8"),
        ("writer_paused", "i8"),
    ]
)


@kernel
def keep_unarrived(pair: Any) -> None:
    """Move the frames whose last bit is not in yet to the front."""
    left = pair.nic.incoming_count - pair.nic.incoming_head
    for i in range(left):
        copy_frame(pair.nic.incoming[i], pair.nic.incoming[pair.nic.incoming_head + i])
    pair.nic.incoming_head = 0
    pair.nic.incoming_count = left


@kernel
def queue_of(flow: int, queues: int) -> int:
    """Receive-side scaling spreads flows evenly over the queues by a hash (multiplicative: Knuth, TAOCP 3, 6.4)."""
    return ((flow * 40503 & 0xFFFF) * queues) >> 16


@kernel
def steer(engine: Any, pairs: Any, frames: Any) -> None:
    """Receive-side scaling: each frame goes to the queue of its flow."""
    for q in range(engine.queues):
        keep_unarrived(pairs[q])
    for i in range(frames.count):
        pair = pairs[queue_of(frames.flow[i], engine.queues)]
        frame = pair.nic.incoming[pair.nic.incoming_count]
        frame.arrival_ps = frame.ready_ps = frames.arrival_ps[i]
        frame.sequence = engine.sequence
        frame.length = frames.length[i]
        frame.flow = frames.flow[i]
        frame.tag = frames.tag[i]
        pair.nic.incoming_count += 1
        pair.oracle.rx_offered += 1
        engine.sequence += 1


@kernel
def take_replies(engine: Any, pair: Any, source: Any) -> None:
    """Let the peer know of the answers that reached it."""
    for i in range(pair.oracle.replies):
        source.reply_tag = pair.oracle.reply_tag[i]
        call_hook(
            engine.peer_received,
            source,
            pair.oracle.reply_ps[i],
            pair.oracle.reply_length[i],
            pair.oracle.reply_flow[i],
        )
    pair.oracle.replies = 0


@kernel
def write_pages(engine: Any, writer: Any, until_ps: int) -> None:
    """The guest's other work: stores to pages of its working set, drawn evenly, at its own pace."""
    if engine.writer_gap_ps == 0 or engine.writer_paused:
        return
    while writer.clock_ps < until_ps:
        page = engine.writer_base + ((next_random(engine) % engine.writer_pages) << PAGE_SHIFT)
        engine.writer_count += 1
        store(writer, page, CONTENT | SENT | engine.writer_count)
        sleep_until(writer, writer.clock_ps + engine.writer_gap_ps)


SHARING_PS = 100 * 10**6
"""Parts are settled anew every 0.1 ms: some hundred full frames at 10 Gb/s."""


@kernel
def advance(
    engine: Any, cpus: Any, pairs: Any, applications: Any, source: Any, frames: Any, until_ps: int
) -> None:
    """Let everything happen that happens up to ``until_ps``."""
    while engine.now_ps < until_ps:
        horizon_ps = min(until_ps, engine.now_ps + engine.slice_ps)
        frames.count = 0
        call_hook(engine.arrivals, source, frames, horizon_ps)
        if frames.count == BATCH_FRAMES:
            # The batch is full: run only as far as it reaches, the rest of the slice is another one.
            horizon_ps = min(horizon_ps, max(engine.now_ps + 1, frames.arrival_ps[BATCH_FRAMES - 1]))
        steer(engine, pairs, frames)
        for q in range(engine.queues):
            run_queue(cpus[q], pairs[q], applications[q], horizon_ps)
            take_replies(engine, pairs[q], source)
        write_pages(engine, cpus[engine.queues], horizon_ps)
        engine.now_ps = horizon_ps
        if engine.queues > 1 and engine.now_ps - engine.shared_ps >= SHARING_PS:
            passed_ps, engine.shared_ps = engine.now_ps - engine.shared_ps, engine.now_ps
            share(cpus, pairs, engine.queues, passed_ps, cpus[0].cost[INVALIDATION_LOCKED])
