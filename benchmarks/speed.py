"""Simulated packets per second of wall time, of the model testbed and of a SimPy model, in the same run.

Each case runs a few times on one core and the median is shown, with the lowest and the highest. Wall time is
all that a run takes once it is compiled: building the machine, the pre-copy, and both comparisons (memory
against memory, each packet delivered against what was sent).
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import simpy_model

from strategies.dummy_write import DummyWrite
from strategies.untracked import Untracked
from vfbench.experiment import Experiment
from vfbench.profiles import Profile, load_profile
from vfbench.records import Outcome
from vfbench.records.schema import Cell
from vfbench.runner import refuse_what_cannot_be_honoured
from vfbench.settings import Driver, Guest, Precopy
from vfbench.testbeds import load_testbed
from workloads.bulk import Bulk
from workloads.small_packets import SmallPackets

REPEATS = 5
SIMPY_PACKETS = 400_000
LINE_GAP_NS = 67.2  # 64-byte frames and 20 bytes between them at 10 Gb/s
LINE_MPPS = 1e3 / LINE_GAP_NS


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    experiment: Experiment


# Many flows load the queues alike, and a short downtime loses few packets while the guest stands still; all
# the others arrive.
SHORT_DOWNTIME = Precopy(downtime_limit_ns=30_000_000)
MANY_QUEUES = "modern-25g"  # a VF of 2015 has two
SIXTEEN = Guest(queues=16, packet_memory_bytes=256 << 20)
MANY_FLOWS = SmallPackets(flows=4096)

CASES = (
    Case("1 queue, untracked", Experiment(Untracked(), SmallPackets())),
    Case("1 queue, dummy-write", Experiment(DummyWrite(), SmallPackets())),
    Case(
        "16 queues, untracked",
        Experiment(Untracked(), MANY_FLOWS, guest=SIXTEEN, migration=SHORT_DOWNTIME, profile=MANY_QUEUES),
    ),
    Case(
        "16 queues, dummy-write",
        Experiment(DummyWrite(), MANY_FLOWS, guest=SIXTEEN, migration=SHORT_DOWNTIME, profile=MANY_QUEUES),
    ),
)

ALL_OFFLOADS = Driver(gro="on", segmentation="on")
ON_THE_WIRE = Case(
    "bulk 10 Gb/s, offloads on",
    Experiment(Untracked(), Bulk(send_ratio=1.0, write_bytes=65_160), driver=ALL_OFFLOADS),
)
FULL_FRAMES_PER_S = 10e9 / (8 * (1518 + 20))


def processor() -> str:
    """The processor's name, as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def run(experiment: Experiment, profile: Profile) -> Outcome:
    """One run on the testbed that the experiment names."""
    return load_testbed(experiment.testbed).run(experiment, profile, lambda *_: None)


def simpy_beside(
    kind: type[simpy_model.Queue], experiment: Experiment, measures: dict[str, Cell]
) -> simpy_model.Result:
    """The SimPy model at the same line rate and queues, its drivers as fast as the testbed's turned out."""
    queues = experiment.guest.queues
    delivered_per_s = float(str(measures["mpps"])) * 1e6 / queues
    line_per_s = 1e9 / LINE_GAP_NS / queues
    # Where nothing is dropped the driver is faster than the line; nine tenths of the line's distance will do.
    keeps_up = delivered_per_s > 0.99 * line_per_s
    packet_ns = 0.9 * LINE_GAP_NS * queues if keeps_up else 1e9 / delivered_per_s
    return simpy_model.simulate(kind, SIMPY_PACKETS, LINE_GAP_NS, queues, packet_ns)


def show(case: Case, outcomes: list[Outcome]) -> None:
    """The testbed's line, and below it SimPy's with how many times slower they are."""
    measures = outcomes[0].measures
    offered, delivered = int(str(measures["packets_offered"])), int(str(measures["packets_delivered"]))
    walls = sorted(outcome.wall_s for outcome in outcomes)
    wall_s = statistics.median(walls)
    spread = f"({offered / walls[-1] / 1e6:.1f} to {offered / walls[0] / 1e6:.1f})"
    line(case.name, offered, delivered, wall_s, spread)
    lost, gap_ms = int(str(measures["packets_lost"])), float(str(measures["service_gap_ms"]))
    print(f"    lost {lost:,}; in the service gap of {gap_ms:.1f} ms came {gap_ms * LINE_MPPS * 1e3:,.0f}")
    print(
        f"    steady state: {float(str(measures['mpps'])):.2f} M/s of virtual time delivered of {LINE_MPPS:.2f}"
    )
    for kind in (simpy_model.BatchedQueue, simpy_model.StoreQueue):
        beside = simpy_beside(kind, case.experiment, measures)
        times = offered / wall_s / beside.packets_per_s
        line(f"    SimPy, {kind.__name__}", beside.offered, beside.delivered, beside.wall_s, f"1/{times:.0f}")


def show_beside_wire(case: Case, profile: Profile) -> None:
    """How much longer the wire takes for the same frames, there and back, than the testbed."""
    run(case.experiment, profile)
    outcomes = [run(case.experiment, profile) for _ in range(REPEATS)]
    offered = int(str(outcomes[0].measures["packets_offered"]))
    delivered = int(str(outcomes[0].measures["packets_delivered"]))
    wall_s = statistics.median(outcome.wall_s for outcome in outcomes)
    times = offered / FULL_FRAMES_PER_S / wall_s
    line(case.name, offered, delivered, wall_s, f"{times:.1f} times as fast as the wire")


def line(name: str, offered: int, delivered: int, wall_s: float, note: str) -> None:
    """One line of the table."""
    rates = f"{offered / wall_s / 1e6:12.2f}{delivered / wall_s / 1e6:15.2f}"
    print(f"{name:28}{offered:12,}{delivered:12,}{wall_s:8.3f}{rates}  {note}", flush=True)


def main() -> int:
    """Print the figures; never judge them."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    profiles = {name: load_profile(name) for name in {case.experiment.profile for case in CASES}}
    versions = f"Python {platform.python_version()}, numba {version('numba')}, SimPy {version('simpy')}"
    print(f"{datetime.now(UTC):%Y-%m-%d}  {processor()}, one core, {versions}")
    print("small-packets at line rate, a whole run with its migration, 1 GiB over 10 Gb/s; M/s are simulated")
    print(f"packets per second of wall time, median of {REPEATS} (lowest to highest, of those offered);")
    print("beside SimPy: the part of the testbed's offered packets per second that it reaches\n")
    print(f"{'case':28}{'offered':>12}{'delivered':>12}{'wall s':>8}{'offered M/s':>12}{'delivered M/s':>15}")
    for case in CASES:
        profile = profiles[case.experiment.profile]
        refuse_what_cannot_be_honoured([case.experiment], profile)
        run(case.experiment, profile)  # compiles, where that is still to be done
        show(case, [run(case.experiment, profile) for _ in range(REPEATS)])
    show_beside_wire(ON_THE_WIRE, profiles[ON_THE_WIRE.experiment.profile])
    return 0


if __name__ == "__main__":
    sys.exit(main())
