"""What an experiment needs of the machine whose costs it is charged: held against `Profile.offers` before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.profiles.machine import Need

if TYPE_CHECKING:
    from vfbench.experiment import Experiment


def needs_of(experiment: Experiment) -> tuple[Need, ...]:
    """Capabilities by name (``vfbench.profiles.machine.CAPABILITIES``), a count with the least that will do."""
    needs: list[Need] = [need for each in experiment.strategy.mechanisms for need in each.needs]
    needs += [(each, -(-experiment.guest.queues // vfs)) for each, vfs in _counted(experiment)]
    if experiment.guest.dirty_log == "pml":
        needs.append("pml")
    if experiment.driver.segmentation == "on":
        needs.append("segmentation")
    if experiment.migration.multifd_channels:
        needs.append("multifd")
    return tuple(dict.fromkeys(needs))


def _counted(experiment: Experiment) -> list[tuple[str, int]]:
    """Counts of which a device's queues must not be more, and over how many such devices the guest's are spread."""
    mechanisms = experiment.strategy.mechanisms
    return [(each.queues_limit, each.devices) for each in mechanisms if each.queues_limit]
