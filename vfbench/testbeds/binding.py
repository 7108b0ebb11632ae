"""Binding a strategy's mechanisms to the machine's records: hooks by address, words, areas, prices, exits.

The same for every testbed; each says how a kernel becomes an address on its side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfbench.composition import acts_at, hook_of
from vfbench.kernels import Kernel
from vfbench.layout import QueueLayout, queue_sizes
from vfbench.machine.slots import AREAS, CHAIN, GUEST_POINTS, PRICES, WORDS
from vfbench.mechanism import (
    EXIT_CLASSES,
    HOST_POINTS,
    DirtySource,
    Found,
    Mechanism,
    Pages,
)
from vfbench.strategy import backends

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.machine.memory.guest_memory import Region
    from vfbench.profiles import Profile
    from vfbench.strategy import Strategy

AddressOf = Callable[[Kernel, int], int]
"""The address of a kernel that takes so many int64 arguments after the record and the slot."""


def bind_guest(record: Any, strategy: Strategy, layout: QueueLayout, address_of: AddressOf) -> None:
    """Fill the guest's part of a record: where its mechanisms act, with what, and how they leave the guest."""
    mechanisms = strategy.mechanisms
    record.owns_iova = int(any(each.owns_iova for each in mechanisms))
    for number, (point, arguments) in enumerate(GUEST_POINTS.items()):
        for i, (slot, function) in enumerate(acts_at(mechanisms, point)):
            record.hook[CHAIN * number + i] = address_of(function, arguments)
            record.hook_slot[CHAIN * number + i] = slot
    for slot, each in enumerate(mechanisms):
        record.exit_class[slot] = EXIT_CLASSES.index(each.exit_to)
        for i, value in enumerate(each.words):
            record.word[slot * WORDS + i] = value
    bind_areas(record, layout)


def bind_areas(record: Any, layout: QueueLayout) -> None:
    """Where each mechanism's structures lie in guest memory."""
    record.dma_end = layout.dma_end
    for slot, areas in enumerate(layout.mechanisms):
        for i, region in enumerate(areas.values()):
            record.area[slot * AREAS + i] = region.base


def bind_driver(record: Any, strategy: Strategy) -> None:
    """How the guest's drivers are built."""
    record.kick_suppression = record.transmit_interrupts = 1
    for backend in backends(strategy):
        for name, value in backend.driver_fields.items():
            record[name] = value


def bind_host(
    record: Any,
    strategy: Strategy,
    profile: Profile | None,
    structures: HostStructures,
    address_of: AddressOf,
) -> None:
    """Fill the host's part of a record; without a profile nothing has a price, since the host's own time passes."""
    for slot, each in enumerate(strategy.mechanisms):
        translate, hypercall = hook_of(each, "translate"), hook_of(each, "hypercall")
        if translate is not None:
            record.translate, record.translate_slot = address_of(translate, TRANSLATE), slot
        if hypercall is not None:
            record.hypercall[slot] = address_of(hypercall, 2)
        if profile is not None:
            for i, cost in enumerate(each.costs):
                # What this machine has not is not spent: whatever would spend it has been refused before.
                record.price[slot * PRICES + i] = profile.picoseconds(cost) if cost in profile.figures else 0
    for point, field in HOST_CHAINS.items():
        arguments = HOST_POINTS[point]
        for i, (slot, function) in enumerate(acts_at(strategy.mechanisms, point)):
            record[field][i] = address_of(function, arguments)
            record[f"{field}_slot"][i] = slot
    for slot, arrays in enumerate(structures.by_slot):
        for i, array in enumerate(arrays.values()):
            record.host_area[slot * AREAS + i] = array.ctypes.data


HOST_CHAINS = {"dma_written": "dma_hook", "work": "work_hook", "unmapped": "unmap_hook"}
"""The fields of a record that hold the chains of the host's points."""

TRANSLATE = -1
"""Stands for the arguments of ``translate``: the port, the slot, and two more."""


class HostStructures:
    """What the mechanisms keep on the host, by slot and name; one for the whole device."""

    def __init__(self, experiment: Experiment) -> None:
        sizes = queue_sizes(experiment)
        self.by_slot: list[dict[str, npt.NDArray[np.int64]]] = []
        for each in experiment.strategy.mechanisms:
            arrays = {name: np.zeros(max(1, n), np.int64) for name, n in each.host_structures(sizes).items()}
            each.fill_host(arrays)
            self.by_slot.append(arrays)


def fill_guest_structures(
    mechanisms: Sequence[Mechanism],
    layout: QueueLayout,
    words_of: Callable[[Region], npt.NDArray[np.int64]],
) -> None:
    """What the guest's kernel put into the mechanisms' structures of one queue before the driver opened."""
    for each, areas in zip(mechanisms, layout.mechanisms, strict=True):
        each.fill_guest(_words(areas, layout, words_of), layout.packets.pages)


def _words(
    areas: Mapping[str, Region], layout: QueueLayout, words_of: Callable[[Region], npt.NDArray[np.int64]]
) -> dict[str, npt.NDArray[np.int64]]:
    """The structures that are held word for word: not those of packets, which follow packet memory."""
    return {name: words_of(area) for name, area in areas.items() if area.base < layout.packets.base}


class Sources:
    """The dirty sources of a strategy beside the hypervisor's own log, asked in turn; their pages are OR-ed."""

    def __init__(self, mechanisms: Sequence[Mechanism], view_of: Callable[[int], Any]) -> None:
        self._mechanisms = list(mechanisms)
        self._view_of = view_of

    @property
    def withholds_mapped(self) -> bool:
        """Whether any of them keeps mapped pages from being sent."""
        return any(isinstance(each, DirtySource) and each.withholds_mapped for each in self._mechanisms)

    def arm(self) -> int:
        """Tracking begins; how long that took in picoseconds."""
        return sum(each.arm(self._view_of(slot)) for slot, each in enumerate(self._mechanisms))

    def disarm(self) -> int:
        """Tracking ends; how long that took in picoseconds."""
        return sum(each.disarm(self._view_of(slot)) for slot, each in enumerate(self._mechanisms))

    def sync(self, last: bool) -> Found:
        """What all of them found together."""
        dirty: Pages | None = None
        at_once: Pages | None = None
        time_ps, everything, failed = 0, False, False
        for slot, each in enumerate(self._mechanisms):
            if not isinstance(each, DirtySource):
                continue
            found = each.sync(self._view_of(slot), last)
            time_ps += found.time_ps
            failed |= found.failed
            everything |= found.everything
            dirty = _either(dirty, found.dirty)
            at_once = _either(at_once, found.at_once)
        return Found(dirty, time_ps, failed, everything or failed, at_once)

    def reports(self) -> Mapping[str, float]:
        """Figures of the mechanisms' own, as `mechanism.figure`."""
        return {
            f"{each.name}.{name}": value
            for slot, each in enumerate(self._mechanisms)
            for name, value in each.reports(self._view_of(slot)).items()
        }


def reported(sources: Sources) -> str:
    """The mechanisms' own figures as a record keeps them; empty where none has any."""
    figures = sources.reports()
    return json.dumps(figures, sort_keys=True) if figures else ""


def _either(one: Pages | None, other: Pages | None) -> Pages | None:
    """Pages of one or the other, where None stands for no page."""
    if one is None or other is None:
        return other if one is None else one
    return one | other
