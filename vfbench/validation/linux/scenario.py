"""What is measured and predicted: a driver behind an IOMMU, frames of one size, received or sent, freed or held.

A scenario is also an experiment: the wire plays the frames of its workload, and the model runs the very same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vfbench.errors import UserError
from vfbench.options import Options, experiments
from vfbench.parameters import parameters_of
from vfbench.validation.linux.drivers import GuestIommu, NicDriver

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
        """Frames a second; fewer sent, because the guest's own pacing catches up after the host was busy."""
        return max(1, self.packets_per_s // SENT_SHARE) if scenario.sent else self.packets_per_s

    def strategy_for(self, path: str, guest_iommu: bool) -> str | None:
        """The first strategy on this path that does, or doesn't, show the guest an IOMMU; None if there is none."""
        for name, strategy in self.strategies.items():
            made = strategy()
            if (made.path, made.guest_iommu) == (path, guest_iommu):
                return name
        return None


def experiment_of(
    scenario: Scenario,
    registered: Registered,
    strategy: str,
    extra: Mapping[str, str] | None = None,
    packets_per_s: float = 0,
) -> Experiment:
    """The scenario, lasting exactly as long as its frames; ``packets_per_s`` 0: as many as were asked for."""
    workload = registered.workload
    refuse_without_frame_size(registered)
    rate = packets_per_s or registered.rate(scenario)
    bits = 8 * (scenario.length_bytes + WIRE_OVERHEAD_BYTES)
    settings = {
        **SMALL_GUEST,
        **scenario.driver.design,
        "phases.steady": f"{round(1e9 * registered.count(scenario) / rate)}ns",
        f"{workload}.frame": f"{scenario.length_bytes}B",
        f"{workload}.rate": f"{round(bits * rate)}bps",
        f"{workload}.hold": HELD_FOR_GOOD if scenario.held else "0ns",
        f"{workload}.dirty-rate": "0pages/s",
        f"{workload}.working-set": "4KiB",
        **(extra or {}),
    }
    options = Options([strategy], workload, [f"{name}={value}" for name, value in settings.items()])
    return experiments(options, registered.strategies, registered.workloads)[0]


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
