"""What is measured and predicted: a driver behind an IOMMU, frames of one size, received or sent, freed or held.

A scenario is also an experiment: the wire plays the frames of its workload, and the model runs the very same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from vfbench.errors import UserError
from vfbench.options import Options, experiments
from vfbench.parameters import parameters_of
from vfbench.strategy import recorded_traits
from vfbench.validation.linux.drivers import GuestIommu, NicDriver
from vfbench.validation.linux.played import Played

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

WIRE_OVERHEAD_BYTES = 20
SMALL_GUEST = {
    "guest.memory": "128MiB",
    "guest.packet-memory": "32MiB",
    "phases.warmup": "0ns",
    "phases.interval": "60s",
    "phases.after": "1ms",
    "driver.page-order": "fifo",
}
"""No warm-up: the real guest, too, starts with a ring that it has just filled."""
HELD_FOR_GOOD = "10s"
SENT_SHARE = 4
AFTER_LAST_S = 0.1


@dataclass(frozen=True)
class Scenario:
    """``length_bytes`` includes the FCS; ``held``: by a socket that is not read, else freed by the stack at once."""

    driver: NicDriver
    iommu: GuestIommu
    sent: bool
    length_bytes: int
    held: bool = False

    @property
    def name(self) -> str:
        way = "sent" if self.sent else "held" if self.held else "freed"
        return f"{self.driver.name} {self.iommu.name} {way} {self.length_bytes} B"


def scenarios(
    drivers: Sequence[NicDriver], iommus: Sequence[GuestIommu], lengths: Sequence[int]
) -> Iterator[Scenario]:
    """All combinations, those of one guest together; frames are held before any has been freed, so on fresh pages."""
    for driver in drivers:
        for iommu in iommus:
            for sent, held in ((False, True), (False, False), (True, False)):
                for length in lengths:
                    yield Scenario(driver, iommu, sent, length, held)


@dataclass(frozen=True)
class Registered:
    """What there is to choose from, and what was chosen."""

    strategies: Mapping[str, type[Strategy]]
    workloads: Mapping[str, type[Workload]]
    workload: str
    frames: int
    packets_per_s: int

    def count(self, scenario: Scenario) -> int:
        """How many frames; fewer sent, because each of those is one map whatever came before."""
        return max(1, self.frames // SENT_SHARE) if scenario.sent else self.frames

    def rate(self, scenario: Scenario) -> int:
        """Frames a second at most; fewer sent, so that QEMU is done with one before the guest sends another."""
        return max(1, self.packets_per_s // SENT_SHARE) if scenario.sent else self.packets_per_s

    def strategy_for(self, path: str, guest_iommu: bool) -> str | None:
        """The first strategy on this path that does, or doesn't, show the guest an IOMMU; None if there is none."""
        for name, strategy in self.strategies.items():
            traits = recorded_traits(strategy())
            if (traits["datapath"], traits.get("guest_iommu", False)) == (path, guest_iommu):
                return name
        return None


def experiment_of(
    scenario: Scenario,
    registered: Registered,
    strategy: str,
    extra: Mapping[str, str] | None = None,
) -> Experiment:
    """The scenario with the frames of the workload that was asked for, evenly spaced."""
    refuse_without_frame_size(registered)
    rate = registered.rate(scenario)
    bits = 8 * (scenario.length_bytes + WIRE_OVERHEAD_BYTES)
    settings = {f"{registered.workload}.rate": f"{round(bits * rate)}bps", **(extra or {})}
    seconds = registered.count(scenario) / rate
    return _experiment(
        scenario, registered, strategy, registered.workloads[registered.workload], seconds, settings
    )


def experiment_as_measured(
    scenario: Scenario,
    registered: Registered,
    strategy: str,
    moments_s: Sequence[float],
    extra: Mapping[str, str] | None = None,
) -> Experiment:
    """The scenario with frames at ``moments_s`` from the beginning of the run, until all is done with the last."""
    seconds = moments_s[-1] + AFTER_LAST_S
    even = _experiment(scenario, registered, strategy, Played, seconds, extra or {})
    moments_ps = tuple(round(1e12 * moment) for moment in moments_s)
    return replace(even, workload=replace(cast("Played", even.workload), moments_ps=moments_ps))


def _experiment(
    scenario: Scenario,
    registered: Registered,
    strategy: str,
    workload: type[Workload],
    seconds: float,
    extra: Mapping[str, str],
) -> Experiment:
    name = workload.name
    settings = {
        **SMALL_GUEST,
        **scenario.driver.design,
        **_of_strategy(scenario.driver, strategy, registered),
        "phases.steady": f"{round(1e9 * seconds)}ns",
        f"{name}.frame": f"{scenario.length_bytes}B",
        f"{name}.hold": HELD_FOR_GOOD if scenario.held else "0ns",
        f"{name}.dirty-rate": "0pages/s",
        f"{name}.working-set": "4KiB",
        **extra,
    }
    options = Options([strategy], name, [f"{key}={value}" for key, value in settings.items()])
    return experiments(options, registered.strategies, {**registered.workloads, name: workload})[0]


def _of_strategy(driver: NicDriver, strategy: str, registered: Registered) -> dict[str, str]:
    """What is the driver's own, where the strategy has that driver: frames are also asked of other strategies."""
    known = {each.name for each in parameters_of(registered.strategies[strategy])}
    return {f"{strategy}.{name}": text for name, text in driver.of_strategy.items() if name in known}


def refuse_without_frame_size(registered: Registered) -> None:
    """UserError for a workload that has no frame size to set."""
    able = [
        name
        for name, each in registered.workloads.items()
        if any(known.name == "frame" for known in parameters_of(each))
    ]
    if registered.workload not in able:
        raise UserError(
            f"--workload {registered.workload!r} has no frame size; these have: {', '.join(able)}"
        )
