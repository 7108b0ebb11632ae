"""Which costs turn a verdict or an order, on the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from vfbench.report.blocks import Column, rendered, width_of, wrap
from vfbench.search.sensitivity import Plan, Turn, Variation, turning_costs
from vfbench.untrusted import printable

OF_KIND = {"outcome": "verdict", "range": "range", "order": "order"}


def print_sensitivity(plan: Plan, turns: Sequence[Turn], file: TextIO) -> None:
    """A row per turn, then what turned nothing, in lines that fit `file`."""
    width = width_of(file)
    if turns:
        subjects = [f"{OF_KIND[turn.kind]} {turn.subject}" for turn in turns]
        columns = [
            Column("at", tuple(_at(turn.variation) for turn in turns), left=True),
            Column("sure", tuple(turn.variation.figure.sure for turn in turns), left=True),
            Column("turns", tuple(subjects), left=True),
            Column("from", tuple(turn.before for turn in turns), left=True),
            Column("to", tuple(turn.after for turn in turns), left=True),
        ]
        costs = [turn.variation.cost for turn in turns]
        for line in rendered(costs, columns, width, bold=False, lead="cost"):
            file.write(f"{printable(line)}\n")
        file.write("\n")
    for line in summary(plan, turning_costs(turns)):
        file.write("\n".join(wrap(printable(line), width)) + "\n")


def summary(plan: Plan, found: dict[str, list[Turn]]) -> Iterable[str]:
    """How much was varied, and what of it turned something."""
    varied = list(dict.fromkeys(variation.cost for variation in plan.variations))
    turning = [name for name in varied if any(turn.kind == "outcome" for turn in found.get(name, []))]
    yield (
        f"{len(plan.experiments)} experiments, {len(varied)} costs, each at the ends of its range "
        f"(profile {plan.profile.name}): {len(turning)} turn a verdict"
        + (f" ({', '.join(turning)})" if turning else "")
        + f", {len(varied) - len(found)} turn nothing."
    )


def sensitivity_document(plan: Plan, turns: Sequence[Turn]) -> str:
    """`{"profile": ..., "experiments": [...], "variations": [...], "turns": [...]}`."""
    document: dict[str, Any] = {
        "profile": plan.profile.name,
        "profile_digest": plan.profile.digest,
        "claims": [claim.id for claim in plan.claims],
        "experiments": [experiment.digest for experiment in plan.experiments],
        "variations": [_variation(each) for each in plan.variations],
        "turns": [
            {
                **_variation(turn.variation),
                "kind": turn.kind,
                "subject": turn.subject,
                "before": turn.before,
                "after": turn.after,
            }
            for turn in turns
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _variation(variation: Variation) -> dict[str, Any]:
    figure = variation.figure
    return {
        "cost": variation.cost,
        "end": variation.end,
        "value": variation.value,
        "stated": figure.value,
        "unit": figure.unit,
        "sure": figure.sure,
    }


def _at(variation: Variation) -> str:
    return f"{variation.value:g} {variation.figure.unit} (stated {variation.figure.value:g})"
