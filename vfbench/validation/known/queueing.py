"""The DMA engine as a queue: Poisson arrivals, one server, a constant service time, and a driver that costs nothing.

Then waiting is M/D/1 (Pollaczek and Khinchine, 1930-32): rho s / 2 (1 - rho); and the frames in the system are as
many as arrive in the time that one spends in it (Little, 1961), counted here at regular instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vfbench.testbeds.model.machine import Machine
from vfbench.validation.known.parts import Poisson, costs, delivered, machine, mean_latency_ns
from vfbench.validation.tables import Row

LOADS: Final = (0.3, 0.5, 0.7, 0.8, 0.9)
SERVICE_NS: Final = 1000
WITHIN: Final = 0.03
"""What a million frames and the latency's buckets allow."""
_LONG_PS: Final = 10**12
_SAMPLE_PS: Final = 50_021_003
"""No multiple of the service time."""
_SAMPLES: Final = 20_000


def loaded(load: float) -> Machine:
    """A machine whose DMA engine is busy for that share of the time."""
    mean_gap_ps = round(SERVICE_NS * 1000 / load)
    return machine(Poisson(mean_gap_ps=mean_gap_ps), costs(dma_packet=SERVICE_NS))


def waiting_rows() -> Iterator[Row]:
    """Mean waiting times against M/D/1."""
    for load in LOADS:
        running = loaded(load)
        running.advance(_LONG_PS)
        closed = load * SERVICE_NS / (2 * (1 - load))
        found = mean_latency_ns(running) - SERVICE_NS
        yield Row(
            "M/D/1: Poisson arrivals at the DMA engine",
            f"mean wait at load {load:g}",
            "ns",
            found,
            closed,
            "relative",
            WITHIN,
            source="rho s / 2 (1 - rho)",
        )


def little_rows() -> Iterator[Row]:
    """Frames in the system, counted, against arrival rate x mean latency."""
    for load in (0.5, 0.9):
        running = loaded(load)
        inside = 0
        for sample in range(1, _SAMPLES + 1):
            running.advance(sample * _SAMPLE_PS)
            inside += in_system(running)
        rate_per_ns = delivered(running) / (running.now_ps / 1000)
        yield Row(
            "Little's law at the DMA engine",
            f"frames in the system at load {load:g}",
            "frames",
            inside / _SAMPLES,
            rate_per_ns * mean_latency_ns(running),
            "relative",
            WITHIN,
            source="L = lambda W",
        )


def in_system(running: Machine) -> int:
    """Frames that have arrived and were not handed over yet, none of them lost."""
    pair = running.pairs[0]
    incoming = pair.nic.incoming[pair.nic.incoming_head : pair.nic.incoming_count]
    on_the_wire = int((incoming["arrival_ps"] > running.now_ps).sum())
    return int(pair.oracle.rx_offered) - on_the_wire - int(pair.oracle.rx_handed_over)
