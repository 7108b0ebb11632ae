"""From the facts of a load to experiments: one for each strategy, on the profile nearest to the card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from vfbench.advice.facts import Facts
from vfbench.captures import read_capture
from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE, Experiment
from vfbench.machine.wire import ETHERNET_BYTES
from vfbench.options import Options, experiments
from vfbench.parameters import parameters_of
from vfbench.profiles import Profile, load_profile
from vfbench.units import format_quantity

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

FULL_FRAME_BYTES: Final = 1518
PER_QUEUE_BPS: Final = 10**10
"""A queue pair for each 10 Gb/s: one vCPU takes about so much of full frames."""


def profile_of(facts: Facts, given: str = "") -> Profile:
    """The profile that was given, else that of the card, else the default."""
    return load_profile(given or (facts.card.profile if facts.card else DEFAULT_PROFILE))


def planned(
    facts: Facts,
    profile: Profile,
    profile_name: str,
    names: Iterable[str],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
) -> list[Experiment]:
    """An experiment for each strategy of that name, under the load that the facts describe."""
    chosen = tuple(names)
    if not chosen:
        return []
    workload = _workload(facts, workloads)
    options = Options(
        chosen, workload, tuple(_settings(facts, profile, workload, workloads)), profile=profile_name
    )
    return experiments(options, strategies, workloads)


def _workload(facts: Facts, workloads: Mapping[str, type[Workload]]) -> str:
    """The replay of a capture, or the even stream whose frames are as long by default as those of the facts."""
    if facts.capture:
        read_capture(facts.capture)  # it is asked for even where nothing is run
        return _first(workloads, "capture")
    wanted = FULL_FRAME_BYTES if facts.frame_bytes is None else facts.frame_bytes
    streams = {
        name: each
        for name, each in workloads.items()
        if {"frame", "send", "rate"} <= set(_parameters(each)) and "burst-frames" not in _parameters(each)
    }
    if not streams:
        raise UserError("no workload has a frame size, a rate and a share of sending; give a capture")
    return min(streams, key=lambda name: abs(int(str(_parameters(streams[name])["frame"])) - wanted))


def _settings(
    facts: Facts, profile: Profile, workload: str, workloads: Mapping[str, type[Workload]]
) -> Iterable[str]:
    link_bps = facts.link_bps
    if link_bps is None:
        link_bps = int(profile.offers.get("link_gbps", 10)) * 10**9
    queues = int(profile.offers.get("queues_per_vf", 1))
    bps = format_quantity(link_bps, "bps")
    yield f"link.rate={bps}"
    yield f"migration.line-rate={bps}"
    yield f"migration.bandwidth={bps}"
    yield f"guest.queues={max(1, min(queues, 16, link_bps // PER_QUEUE_BPS))}"
    if facts.memory_bytes is not None:
        yield f"guest.memory={format_quantity(facts.memory_bytes, 'bytes')}"
        if facts.memory_bytes < 2 * 64 << 20:
            yield f"guest.packet-memory={format_quantity(facts.memory_bytes // 4, 'bytes')}"
    if facts.downtime_limit_ns is not None:
        yield f"migration.downtime-limit={format_quantity(facts.downtime_limit_ns, 'ns')}"
    known = _parameters(workloads[workload])
    if facts.capture:
        yield f"{workload}.capture={facts.capture}"
    elif facts.frame_bytes is not None:
        yield f"{workload}.frame={format_quantity(facts.frame_bytes, 'bytes')}"
        yield from _of_long_frames(facts.frame_bytes)
    if facts.rate_bps is not None:
        yield f"{workload}.rate={format_quantity(facts.rate_bps, 'bps')}"
    if facts.send_share is not None and "send" in known:
        yield f"{workload}.send={facts.send_share:g}"
    if facts.dirty_pages_per_s is not None:
        yield f"{workload}.dirty-rate={facts.dirty_pages_per_s}pages/s"


def _of_long_frames(frame_bytes: int) -> Iterable[str]:
    """A larger MTU on both sides, and buffers of virtio-net that take such frames."""
    if frame_bytes > FULL_FRAME_BYTES:
        yield f"link.mtu={format_quantity(frame_bytes - ETHERNET_BYTES, 'bytes')}"
        yield "driver.virtio-buffers=mergeable"


def _first(workloads: Mapping[str, type[Workload]], parameter: str) -> str:
    found = [name for name, each in workloads.items() if parameter in _parameters(each)]
    if not found:
        raise UserError(f"no workload takes a {parameter}; leave it out")
    return found[0]


def _parameters(workload: type[Workload]) -> dict[str, object]:
    return {each.name: each.default for each in parameters_of(workload)}
