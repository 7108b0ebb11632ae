"""From counters to the measures of a record, by the names of ``vfbench.records.schema``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.latency import latency_percentiles_us

if TYPE_CHECKING:
    from vfbench.testbeds.counting import Row
    from vfbench.testbeds.kvm.host.bench_records import Bench
    from vfbench.testbeds.kvm.host.timeline import Counters


def cycles(begin: Counters, end: Counters, guest_ticks: int | None) -> Row:
    """What the guest spent on a packet in the steady state; None where guest code is emulated.

    ``guest_ticks``: of the guest's time-stamp counter, counted by the guest itself. Its driver, the strategy's hooks
    and exits, and the application are in it; its sleep, its other work and the observer's two exits a packet are not.
    A host that takes the processor away meanwhile, or runs it faster than its counter, is in it too. The host's cycles
    are left out: the host thread is peer, wire and VF besides being vhost, and makes the bytes that vhost would copy.
    """
    packets = end.delivered - begin.delivered
    return {"guest_cycles_per_packet": guest_ticks / packets if guest_ticks is not None and packets else None}


def slowdown(begin: Counters, end: Counters) -> float:
    """Wall time over the wire's own in the steady state, as the clocks went."""
    wire_ps = end.wire_ps - begin.wire_ps
    return round((end.wall_ns - begin.wall_ns) * 1000 / wire_ps, 3) if wire_ps else 1.0


def latency(begin: Counters, end: Counters, times_slower: float) -> Row:
    """From the wire to the application in the steady state, on the wall clock.

    An arrival is when the frame's last bit was due on the wire, so a host thread that came late is part of it.
    """
    names = ("latency_p50_us", "latency_p99_us", "latency_p999_us")
    percentiles = latency_percentiles_us(end.latency - begin.latency, (50, 99, 99.9))
    found = zip(names, percentiles, strict=True)
    return {name: None if value is None else value * times_slower for name, value in found}


def longest_gap_ps(bench: Bench) -> float:
    """The longest silence that the peer saw, on the wall clock."""
    return int(bench.records.pair.oracle.longest_gap_ps) * int(bench.records.wire.slowdown_1024) / 1024
