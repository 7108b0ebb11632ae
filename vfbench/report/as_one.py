"""Two strategies held against each other as if they were one, so that two sets of the same work can be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vfbench.errors import UserError
from vfbench.parameters import unknown
from vfbench.records import Record


def as_one(before: Sequence[Record], after: Sequence[Record], pair: str) -> tuple[list[Record], list[Record]]:
    """The runs of A's and of B's strategy in ``pair`` (``A=B``), under one name and without their parameters.

    UserError where it is no such pair, a set has no run of its strategy, or has it with different parameters.
    """
    first, separator, second = pair.partition("=")
    if not (first and separator and second):
        raise UserError(f"--strategies: {pair!r} is no pair like dummy-write=emulated-iommu")
    name = f"{second} against {first}"
    return _named(before, first, name, "A"), _named(after, second, name, "B")


def _named(records: Sequence[Record], strategy: str, name: str, side: str) -> list[Record]:
    own = [each for each in records if each.run["strategy"] == strategy]
    if not own:
        known = sorted({str(each.run["strategy"]) for each in records})
        raise unknown(f"--strategies: {side} has no run of", strategy, known)
    parameters = [each.manifest["experiment"]["strategy"].get("parameters", {}) for each in own]
    if any(each != parameters[0] for each in parameters):
        raise UserError(f"--strategies: {side} has {strategy} with different parameters: name a set with one")
    return [
        dataclasses.replace(
            each,
            run={**each.run, "strategy": name},
            manifest={
                **each.manifest,
                "experiment": {**each.manifest["experiment"], "strategy": {"name": name, "parameters": {}}},
            },
        )
        for each in own
    ]
