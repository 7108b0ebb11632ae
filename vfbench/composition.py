"""Mechanisms together: which acts where, in what order, what they say of themselves, and what is wrong with them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfbench.machine.slots import AREAS, GUEST_POINTS, PRICES, SLOTS, WORDS
from vfbench.mechanism import EXIT_CLASSES, HOST_POINTS, Backend, Mechanism, QueueSizes, Trait

if TYPE_CHECKING:
    from vfbench.kernels import Kernel


def hook_of(mechanism: Mechanism, point: str) -> Kernel | None:
    """The kernel of ``mechanism`` at ``point``; a compiled kernel would otherwise bind to its instance."""
    found = inspect.getattr_static(mechanism, point)
    if isinstance(found, property):
        return found.fget(mechanism) if found.fget else None
    return found.__func__ if isinstance(found, staticmethod) else found


def acts_at(mechanisms: Sequence[Mechanism], point: str) -> list[tuple[int, Kernel]]:
    """The chain of ``point``: slot and kernel of each mechanism that acts there, the owner of addresses first."""
    found = [(slot, hook_of(each, point)) for slot, each in enumerate(mechanisms)]
    chain = [(slot, function) for slot, function in found if function is not None]
    return sorted(chain, key=lambda entry: not mechanisms[entry[0]].owns_iova) if point == "map" else chain


def traits_of(mechanisms: Sequence[Mechanism]) -> dict[str, Trait]:
    """The traits of all of them; where two say different words of one thing, both, in order, with a plus between."""
    merged: dict[str, Trait] = {}
    for each in mechanisms:
        for name, value in each.traits.items():
            known = merged.get(name)
            if known is None or known == value:
                merged[name] = value
            elif isinstance(known, str):
                merged[name] = f"{known}+{value}"
            else:
                merged[name] = max(known, value)
    return merged


def complaints(mechanisms: Sequence[Mechanism]) -> list[str]:
    """What is wrong with such a composition, a line each."""
    wrong = []
    if len(mechanisms) > SLOTS:
        wrong.append(f"{len(mechanisms)} mechanisms, and there is room for {SLOTS}")
    names = [each.name for each in mechanisms]
    wrong += [
        f"two mechanisms are called {name!r}" for name in sorted({n for n in names if names.count(n) > 1})
    ]
    owners = [each.name for each in mechanisms if each.owns_iova]
    if len(owners) > 1:
        wrong.append(f"{' and '.join(owners)} both hand out the device's addresses: only one can")
    if not any(isinstance(each, Backend) for each in mechanisms):
        wrong.append("nothing serves its packets: name Vf() or VirtioNet() among its mechanisms")
    for each in mechanisms:
        wrong += [f"{each.name}: {line}" for line in _own_complaints(each)]
    return wrong


def _is_kernel(found: object) -> bool:
    return found is None or callable(found)


def _own_complaints(mechanism: Mechanism) -> list[str]:
    wrong = []
    if len(mechanism.words) > WORDS:
        wrong.append(f"{len(mechanism.words)} words, and there is room for {WORDS}")
    if len(mechanism.costs) > PRICES:
        wrong.append(f"{len(mechanism.costs)} costs, and there is room for {PRICES}")
    if mechanism.exit_to not in EXIT_CLASSES:
        wrong.append(f"exits to {mechanism.exit_to!r}, which is none of {', '.join(EXIT_CLASSES)}")
    sizes = QueueSizes(64, 64, 64, 64, 1)
    guest = len(mechanism.guest_structures(sizes)) + len(mechanism.payload_structures(sizes))
    if max(guest, len(mechanism.host_structures(sizes))) > AREAS:
        wrong.append(f"more than {AREAS} structures on one side")
    if mechanism.owns_iova and hook_of(mechanism, "map") is None:
        wrong.append("hands out addresses, but has no `map`")
    points = {point: hook_of(mechanism, point) for point in (*GUEST_POINTS, *HOST_POINTS)}
    wrong += [f"{point}: {each!r} is no kernel" for point, each in points.items() if not _is_kernel(each)]
    return wrong
