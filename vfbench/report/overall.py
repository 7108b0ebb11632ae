"""What holds over all scenarios of a set, strategy by strategy: whole or not, completed or not, how fast."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from statistics import median

from vfbench.records.damage import DAMAGED
from vfbench.report.groups import Group
from vfbench.report.scenarios import Scenario
from vfbench.report.watched import GBPS

FEWEST_SCENARIOS = 2
LEVEL = 0.99
"""This share of the fastest's throughput or more is as fast."""

LEVEL_TIME = 1.01
"""Up to this many times the least is as little."""


def overall(found: Sequence[Scenario]) -> list[str]:
    """A sentence for each strategy, over every scenario in which two strategies ran.

    Each strategy is taken in its plainest variant, without a fault switched on if it ever ran so. Empty where there is
    no more than one such scenario per testbed.
    """
    sentences: list[str] = []
    for testbed in dict.fromkeys(each.testbed for each in found):
        own = [scenario for scenario in found if scenario.testbed == testbed]
        sound = {_name(group) for scenario in own for group in scenario.groups if not _faults(group)}
        shared = [each for scenario in own if len(each := plain_groups(scenario, sound)) > 1]
        if len(shared) >= FEWEST_SCENARIOS:
            names = dict.fromkeys(name for groups in shared for name in groups)
            sentences += [
                _of_strategy(name, [each for each in shared if name in each], testbed) for name in names
            ]
    return sentences


def plain_groups(scenario: Scenario, sound: Collection[str]) -> dict[str, Group]:
    """By strategy the measured variant of few settings of its own; with a fault only if it is not among ``sound``."""
    plain: dict[str, Group] = {}
    for group in sorted(scenario.groups, key=lambda each: each.label.count("=")):
        if group.measured and not (_faults(group) and _name(group) in sound):
            plain.setdefault(_name(group), group)
    return {name: plain[name] for name in dict.fromkeys(map(_name, scenario.groups)) if name in plain}


def _name(group: Group) -> str:
    return str(group.first.run["strategy"])


def _faults(group: Group) -> bool:
    return bool(group.first.run["faults"])


def _of_strategy(name: str, shared: Sequence[dict[str, Group]], testbed: str) -> str:
    own = [groups[name] for groups in shared]
    known = [verdict for group in own if (verdict := group.damage.verdict)]
    damaged = known.count(DAMAGED)
    parts = []
    if known:
        whole = f"whole in all {len(known)}" if not damaged else f"damaged in {damaged} of {len(known)}"
        parts.append(f"{whole} scenarios")
    stuck = [[each.run["state"] == "not-converged" for each in group.records] for group in own]
    if never := sum(all(each) for each in stuck):
        parts.append(f"its migration never completed in {never} of {len(own)}")
    if at_times := sum(any(each) and not all(each) for each in stuck):
        parts.append(f"its migration completed, but not every time, in {at_times} of {len(own)}")
    parts += [*_speed(name, shared), *_price(name, shared)]
    place = "" if testbed == "model" else f" on testbed {testbed}"
    return f"{name}{place}: {', '.join(parts) or 'nothing was measured'}."


def _speed(name: str, shared: Sequence[dict[str, Group]]) -> Iterable[str]:
    """Its steady throughput as a share of the fastest's in each scenario."""
    shares = []
    for groups in shared:
        rates = {each: rate for each, group in groups.items() if (rate := _rate(group)) is not None}
        # One that delivered nothing counts, and is far from the fastest; where all did, none is.
        if name in rates and (fastest := max(rates.values())) > 0:
            shares.append(rates[name] / fastest)
    if shares:
        level = sum(share >= LEVEL for share in shares)
        yield (
            f"within 1 % of the fastest in {level} of {len(shares)}"
            + (f", at worst {100 * min(shares):.0f} % of its throughput" if level < len(shares) else "")
        )


def _price(name: str, shared: Sequence[dict[str, Group]]) -> Iterable[str]:
    """Its cycles per packet, guest and host together, over the least in each scenario."""
    times = []
    for groups in shared:
        cycles = {each: found for each, group in groups.items() if (found := _cycles(group)) > 0}
        if name in cycles:
            times.append(cycles[name] / min(cycles.values()))
    if times and max(times) < LEVEL_TIME:
        yield "the least processor time in all"
    elif times:
        yield f"{median(times):.3g} times the least processor time in the median, at worst {max(times):.3g} times"


def _cycles(group: Group) -> float:
    if any(record.run["functional"] for record in group.measured):
        return 0.0
    return sum(group.median(f"{side}_cycles_per_packet") or 0.0 for side in ("guest", "host"))


def _rate(group: Group) -> float | None:
    values = GBPS.values(group.measured)
    return median(values) if values else None
