"""What the known answers need of a machine: costs that are nothing but one, a peer at random, no strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from vfbench.experiment import DEFAULT_PROFILE, Device, Driver, Experiment, Guest, Link
from vfbench.kernels import kernel
from vfbench.latency import bucket_middle_ns
from vfbench.machine.memory.words import load_word
from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.parameters import parameter
from vfbench.profiles import REQUIRED, Profile, load_profile
from vfbench.strategy import Migration, Strategy, stop_and_copy
from vfbench.testbeds.model.machine import Machine
from vfbench.workload import Workload, may_put, next_flow, next_random, put_evenly, put_frame

MIB = 1 << 20
FASTEST_LINK_BPS = 400 * 10**9
FRAME_BYTES, TABLE_BITS = 0, 16
_RANDOM_BITS = 31


@kernel
def even_arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """Frames of one size, evenly spaced."""
    put_evenly(source, frames, horizon_ps, source.scratch[FRAME_BYTES])
    return 0


@kernel
def poisson_arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """Frames of one size, the distances between them drawn from the table."""
    while may_put(source, frames, horizon_ps):
        put_frame(source, frames, source.next_ps, source.scratch[FRAME_BYTES], next_flow(source), 0)
        source.next_ps += load_word(source.table, next_random(source) >> (_RANDOM_BITS - TABLE_BITS))
    return 0


@dataclass(frozen=True)
class Even(Workload):
    """Frames of one size at a constant distance."""

    name: ClassVar[str] = "even"
    arrivals = even_arrivals

    frame_bytes: int = parameter(64, unit="bytes", low=64, high=2048, help="frame size with FCS")

    def prepare(self, source: Any) -> tuple[Any, ...]:
        source.scratch[FRAME_BYTES] = self.frame_bytes
        source.gap_ps = self.gap_ps(source, self.frame_bytes)
        return ()


@dataclass(frozen=True)
class Poisson(Workload):
    """The smallest frames at exponential distances: a Poisson process, but for the time that a frame takes."""

    name: ClassVar[str] = "poisson"
    arrivals = poisson_arrivals

    mean_gap_ps: int = parameter(10**6, unit="count", low=1, help="mean distance of two frames")

    def prepare(self, source: Any) -> tuple[Any, ...]:
        cells = 1 << TABLE_BITS
        gaps = -np.log1p(-(np.arange(cells) + 0.5) / cells)
        table = np.rint(gaps * (self.mean_gap_ps / gaps.mean())).astype(np.int64)
        source.scratch[FRAME_BYTES] = 64
        source.gap_ps = self.mean_gap_ps
        source.table, source.table_length = table.ctypes.data, cells
        return (table,)


@dataclass(frozen=True)
class Plain(Strategy):
    """Does nothing."""

    name: ClassVar[str] = "plain"

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(),)

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        stop_and_copy(migration, "guest-first")
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()


def costs(**times_ns: float) -> Profile:
    """A profile in which everything is free, but for the times named, in nanoseconds; sizes are the default's."""
    base = load_profile(DEFAULT_PROFILE)
    return replace(base, name="known-answers", figures=_figures(base, times_ns))


def machine(workload: Workload, profile: Profile, link_bps: int = FASTEST_LINK_BPS) -> Machine:
    """A small guest with one queue and unthrottled interrupts."""
    experiment = Experiment(
        strategy=Plain(),
        workload=workload,
        guest=Guest(memory_bytes=64 * MIB, packet_memory_bytes=16 * MIB),
        link=Link(rate_bps=link_bps),
        driver=Driver(rx_ring=4096),
        device=Device(interrupt_interval_ns=0),
    )
    made = Machine(experiment, profile)
    for pair in made.pairs:
        pair.oracle.measures_latency = 1
    return made


def delivered(running: Machine) -> int:
    """Frames handed to the application so far."""
    return int(running.pairs.oracle.rx_handed_over.sum())


def mean_latency_ns(running: Machine) -> float:
    """From the wire to the application, over all frames so far; within half a per cent, as its buckets go."""
    buckets = running.pairs.oracle.latency.sum(axis=0)
    filled = np.flatnonzero(buckets)
    middles = np.array([bucket_middle_ns(int(bucket)) for bucket in filled])
    return float((middles * buckets[filled]).sum() / buckets.sum())


def _figures(base: Profile, times_ns: Mapping[str, float]) -> dict[str, Any]:
    figures = dict(base.figures)
    for name, dimension in REQUIRED.items():
        figure = figures[name]
        if dimension == "time":
            value = times_ns.get(name, 0.0)
            figures[name] = replace(figure, value=value, unit="ns", low=value, high=value)
        elif dimension == "rate":
            figures[name] = replace(figure, value=1e9, unit="bytes_per_us", low=1e9, high=1e9)
    return figures
