"""Which strategies a host can have, what has to be changed for each, and why the rest cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from vfbench.advice.facts import Facts
from vfbench.advice.possible import Finding, Hindrance
from vfbench.demands import DEMANDS, Demand
from vfbench.needs import needs_of
from vfbench.profiles.machine import HYPOTHETICAL, Need

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.strategy import Migration, Strategy


@dataclass(frozen=True)
class Way:
    """A strategy on this host.

    `changes` is what has to be changed, `unmerged` that of it which no Linux or QEMU has as it comes,
    `hypothetical` the capabilities that the hardware of the time lacks.
    """

    strategy: str
    hindrances: tuple[Hindrance, ...] = ()
    changes: tuple[str, ...] = ()
    unmerged: tuple[str, ...] = ()
    hypothetical: tuple[str, ...] = ()

    @property
    def is_possible(self) -> bool:
        """Whether it can be had as things are, with the changes that may be made."""
        return not self.hindrances

    @property
    def has_remedy(self) -> bool:
        """Whether something that the operator can do would make it possible."""
        return bool(self.hindrances) and all(each.remedy for each in self.hindrances)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "strategy": self.strategy,
            "possible": self.is_possible,
            "hindrances": [{"reason": each.reason, "remedy": each.remedy} for each in self.hindrances],
            "changes": list(self.changes),
            "unmerged": list(self.unmerged),
            "hypothetical": list(self.hypothetical),
        }


def way(experiment: Experiment, found: Mapping[str, Finding], facts: Facts) -> Way:
    """How the experiment's strategy fares, by what its mechanisms need and demand."""
    return way_of(
        experiment.strategy.name, needs_of(experiment), demands_of(experiment.strategy), found, facts
    )


def demands_of(strategy: Strategy) -> tuple[str, ...]:
    """What its mechanisms demand, each once, in order, and a PF driver that moves registers if its script needs one."""
    words = [word for each in strategy.mechanisms for word in each.demands]
    needs = {_name(need) for each in strategy.mechanisms for need in each.needs}
    if "transfer_vf_state" in _verbs_of(strategy) and "vf_state" not in needs:
        words.append("host-driver")
    return tuple(dict.fromkeys(words))


class _Recorder:
    """A migration of which nothing comes but the list of its verbs."""

    def __init__(self) -> None:
        self.verbs: list[str] = []

    def __getattr__(self, verb: str) -> Callable[..., None]:
        def record(*_: object, **__: object) -> None:
            self.verbs.append(verb)

        return record


def _verbs_of(strategy: Strategy) -> list[str]:
    """The verbs of its script, up to where it asks one for an answer that no recorder has."""
    recorder = _Recorder()
    with suppress(Exception):
        strategy.migrate(cast("Migration", recorder))
    return recorder.verbs


def way_of(
    name: str, needs: Iterable[Need], demands: Iterable[str], found: Mapping[str, Finding], facts: Facts
) -> Way:
    """A way from data alone; KeyError for a need or demand that is no word of theirs."""
    needed, demanded = list(needs), [DEMANDS[word] for word in demands]
    hindrances = [*_of_needs(needed, found), *_of_demands(demanded, facts)]
    return Way(
        name,
        tuple(dict.fromkeys(hindrances)),
        tuple(demand.what for demand in demanded),
        tuple(demand.what for demand in demanded if not demand.stock),
        tuple(each for each in map(_name, needed) if found[each].has == HYPOTHETICAL),
    )


def _of_needs(needs: Iterable[Need], found: Mapping[str, Finding]) -> Iterator[Hindrance]:
    for need in needs:
        finding = found[_name(need)]
        if finding.has is False:
            yield from finding.hindrances
        elif isinstance(need, tuple) and isinstance(finding.has, int) and finding.has < need[1]:
            yield Hindrance(
                f"{need[0]} is {finding.has}, and {need[1]} are needed", f"ask for {finding.has} at most"
            )


def _of_demands(demanded: Iterable[Demand], facts: Facts) -> Iterator[Hindrance]:
    for demand in demanded:
        if demand.change not in facts.may_change:
            reason = f"it takes {demand.what}, and {demand.change} may not be changed"
            yield Hindrance(reason, f"--may-change {demand.change}")


def _name(need: Need) -> str:
    return need if isinstance(need, str) else need[0]
