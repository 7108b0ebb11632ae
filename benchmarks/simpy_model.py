"""Arrival, ring and poll in SimPy: the least that a simulation of a receiving NIC does.

Frames come at a constant distance and go round the queues. A queue's ring takes a frame or drops it; its
driver polls while there are any, each packet at a fixed cost. No memory, no descriptors, no DMA, no dirty
log, no migration, no comparison: what the model testbed does beyond this is left out in SimPy's favour.

Twice: `BatchedQueue` is as fast as SimPy gets, a plain deque whose driver takes a batch with one event;
`StoreQueue` is how SimPy's own guide would have it, a `Store` from which the driver takes each packet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import simpy

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Result:
    """Packets, and the seconds that it took to simulate them."""

    offered: int
    delivered: int
    dropped: int
    wall_s: float

    @property
    def packets_per_s(self) -> float:
        """Simulated packets offered per second of wall time."""
        return self.offered / self.wall_s


class Queue:
    """A ring of `size` frames and the driver that polls it, each packet for `packet_ns`."""

    def __init__(self, env: simpy.Environment, size: int, packet_ns: float) -> None:
        self.env, self.size, self.packet_ns = env, size, packet_ns
        self.delivered = self.dropped = 0
        env.process(self.poll())

    def arrive(self) -> None:
        """Take a frame from the wire, or drop it."""
        raise NotImplementedError

    def poll(self) -> Process:
        """Sleep until there is a frame, then take frames until there is none."""
        raise NotImplementedError


class BatchedQueue(Queue):
    """One event for a batch of up to 64 packets."""

    budget = 64

    def __init__(self, env: simpy.Environment, size: int, packet_ns: float) -> None:
        self.ring: deque[float] = deque()
        self.interrupt: simpy.Event | None = None
        super().__init__(env, size, packet_ns)

    def arrive(self) -> None:
        if len(self.ring) == self.size:
            self.dropped += 1
            return
        self.ring.append(self.env.now)
        if self.interrupt is not None:
            self.interrupt.succeed()
            self.interrupt = None

    def poll(self) -> Process:
        while True:
            if not self.ring:
                self.interrupt = self.env.event()
                yield self.interrupt
            batch = min(self.budget, len(self.ring))
            for _ in range(batch):
                self.ring.popleft()
            yield self.env.timeout(batch * self.packet_ns)
            self.delivered += batch


class StoreQueue(Queue):
    """Each packet is put into a store and taken from it."""

    def __init__(self, env: simpy.Environment, size: int, packet_ns: float) -> None:
        self.ring = simpy.Store(env, capacity=size)
        super().__init__(env, size, packet_ns)

    def arrive(self) -> None:
        if len(self.ring.items) == self.size:
            self.dropped += 1
        else:
            self.ring.put(self.env.now)

    def poll(self) -> Process:
        while True:
            yield self.ring.get()
            yield self.env.timeout(self.packet_ns)
            self.delivered += 1


def arrivals(env: simpy.Environment, queues: list[Queue], gap_ns: float, packets: int) -> Process:
    """`packets` frames, `gap_ns` apart, to the queues in turn."""
    for _, queue in zip(range(packets), cycle(queues), strict=False):
        yield env.timeout(gap_ns)
        queue.arrive()


def simulate(
    kind: type[Queue], packets: int, gap_ns: float, queues: int, packet_ns: float, ring: int = 512
) -> Result:
    """Offer `packets` to that many queues, each of whose packets costs its driver `packet_ns`."""
    env = simpy.Environment()
    receivers = [kind(env, ring, packet_ns) for _ in range(queues)]
    env.process(arrivals(env, receivers, gap_ns, packets))
    began = time.perf_counter()
    env.run()
    wall_s = time.perf_counter() - began
    return Result(packets, sum(q.delivered for q in receivers), sum(q.dropped for q in receivers), wall_s)
