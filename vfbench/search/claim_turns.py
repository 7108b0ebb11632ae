"""What turns each claim: for the twelve verdicts of a result set, each cost at the ends of its plausible range.

A verdict rests on many runs; a few of them are enough to see what moves it. Of the work that each claim was judged by,
some are taken, evenly spread, with every run of that work; they run once with all figures as stated, and once for each
end of each figure's range. What came out is stored after each variation, so that a run that was interrupted goes on
where it stopped, and `bench claims` tells of it later without running anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from vfbench.errors import UserError
from vfbench.files import write_file
from vfbench.records import Record
from vfbench.search.sensitivity import (
    Plan,
    Progress,
    Variation,
    evaluated_claims,
    judged_by,
    plan,
    range_in_words,
    starting_at,
)
from vfbench.statistics import MEASURED
from vfbench.untrusted import check_shape, parse_json, read_bytes, shown
from vfbench.verdicts import Claim, Verdict

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

SCHEMA: Final = 1
WORKS: Final = 2
"""Works a claim: with one, a range can't move."""
AS_STATED: Final = "as stated"

MOST_BYTES: Final = 16 << 20
WANTED: Final = "what `bench claims --sensitivity` stored"

Judged = dict[str, list[str]]
"""By claim: the outcome, and the range in words."""


class StoredPlan(TypedDict):
    """What came out of the variations of one profile so far; ``key`` says of which runs and which code."""

    key: str
    experiments: int
    ends: int
    judged: dict[str, dict[str, tuple[str, str]]]


class Document(TypedDict):
    """The file."""

    schema: int
    plans: dict[str, StoredPlan]


@dataclass
class Store:
    """What came out of each variation so far, in one JSON file beside the result set; written whole after each."""

    path: Path
    plans: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def beside(cls, results: Path) -> Store:
        """The one of a result set; empty where there is none yet. UserError for a file that is something else."""
        absolute = results.resolve()
        path = absolute.with_name(f"{absolute.name}.sensitivity.json")
        if not path.exists():
            return cls(path)
        try:
            document = parse_json(read_bytes(path, shown(path), MOST_BYTES, WANTED))
            check_shape(document, Document)
        except ValueError as error:
            raise UserError(f"{shown(path)} is not {WANTED} ({error}): move it away") from error
        if document["schema"] != SCHEMA:
            raise UserError(
                f"{shown(path)} has schema {document['schema']}, this vfbench reads {SCHEMA}: move it away"
            )
        return cls(path, document["plans"])

    def of(self, profile: str) -> dict[str, Any] | None:
        """What is stored for a profile, by its name and digest as verdicts have it."""
        return self.plans.get(profile)

    def begin(self, profile: str, key: str, plan: Plan) -> dict[str, Any]:
        """What there is for these very runs; anything of other runs is dropped."""
        known = self.plans.get(profile)
        if known is None or known["key"] != key:
            known = {"key": key, "experiments": len(plan.experiments), "ends": 0, "judged": {}}
            self.plans[profile] = known
        known["ends"] = max(int(known["ends"]), len(plan.variations))
        return known

    def save(self) -> None:
        """Write it; the file is the old or the new at every moment."""
        text = json.dumps({"schema": SCHEMA, "plans": self.plans}, indent=1, sort_keys=True)
        write_file(self.path, text + "\n", replace=True)


def plans_of(
    records: Sequence[Record],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    claims: Sequence[Claim],
    costs: Sequence[str],
    works: int = WORKS,
) -> Iterator[tuple[str, Plan]]:
    """A plan for each profile that settles a claim: `name@digest`, as in verdicts, and what to run."""
    counted = [
        record for record in records if record.run["testbed"] == "model" and record.run["state"] in MEASURED
    ]
    for digest in dict.fromkeys(str(record.run["profile_digest"]) for record in counted):
        own = [record for record in counted if str(record.run["profile_digest"]) == digest]
        chosen = {name for verdict in judged_by(own, claims) for name in _some_works(verdict, own, works)}
        few = [record for record in own if str(record.run["experiment"]) in chosen]
        if few:
            label = f"{few[0].run['profile']}@{digest[:8]}"
            yield label, plan(few, strategies, workloads, claims, costs, only_what_they_rest_on=False)


def run_plan(store: Store, profile: str, planned: Plan, progress: Progress) -> None:
    """Run what is not stored yet, and store each variation as soon as it is judged."""
    known = store.begin(profile, key_of(planned), planned)
    judged = known["judged"]
    for number, name, variation in _named(planned):
        if name in judged:
            continue
        figures = planned.profile if variation is None else variation.of(planned.profile)
        found = evaluated_claims(planned, figures, starting_at(progress, number * len(planned.experiments)))
        judged[name] = _judged(found)
        store.save()


def missing_runs(store: Store, profile: str, planned: Plan) -> int:
    """How many runs are not stored yet."""
    known = store.of(profile)
    done = known["judged"] if known is not None and known["key"] == key_of(planned) else {}
    return len(planned.experiments) * sum(name not in done for _, name, _ in _named(planned))


def key_of(planned: Plan) -> str:
    """What a stored judgement is of: these experiments, these figures, this code."""
    from vfbench.kernels import ALL_SOURCES, source_hash

    parts = [
        *sorted(each.digest for each in planned.experiments),
        planned.profile.digest,
        source_hash(ALL_SOURCES),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def with_turns(verdicts: Sequence[Verdict], store: Store) -> list[Verdict]:
    """The verdicts, each with what turns it where that is known."""
    return [replace(verdict, **_turns(verdict, store.of(verdict.profile))) for verdict in verdicts]


def _turns(verdict: Verdict, known: dict[str, Any] | None) -> dict[str, Any]:
    if known is None or verdict.claim not in known["judged"].get(AS_STATED, {}):
        return {}
    stated = known["judged"][AS_STATED][verdict.claim]
    turned, moved = [], []
    for name, found in known["judged"].items():
        outcome, where = found.get(verdict.claim, stated)
        if outcome != stated[0]:
            turned.append(f"{name}: {outcome}")
        elif where != stated[1]:
            moved.append(name)
    return {"varied": len(known["judged"]) - 1, "turned_by": tuple(turned), "moved_by": tuple(moved)}


def _some_works(verdict: Verdict, records: Sequence[Record], works: int) -> Iterator[str]:
    """Runs of some of the works that a verdict rests on, evenly spread over them in the order of the runs."""
    rests_on = set(verdict.runs)
    by_work: dict[str, list[str]] = {}
    for record in records:
        name = str(record.run["experiment"])
        if name in rests_on:
            by_work.setdefault(_work(record), []).append(name)
    groups = list(by_work.values())
    step = max(1, len(groups) / max(1, works))
    for number in range(min(works, len(groups))):
        yield from groups[int(number * step)]


def _work(record: Record) -> str:
    document = {key: value for key, value in record.identity.items() if key not in ("seed", "strategy")}
    return json.dumps(document, sort_keys=True)


def _named(planned: Plan) -> Iterator[tuple[int, str, Variation | None]]:
    yield 0, AS_STATED, None
    for number, variation in enumerate(planned.variations, 1):
        yield number, variation_name(variation), variation


def variation_name(variation: Variation) -> str:
    """`exit_kernel at 4000 cycles (high)`."""
    return f"{variation.cost} at {variation.value:g} {variation.figure.unit} ({variation.end})"


def _judged(verdicts: Sequence[Verdict]) -> Judged:
    return {
        verdict.claim: [verdict.outcome, range_in_words(verdict) if verdict.cells else ""]
        for verdict in verdicts
    }
