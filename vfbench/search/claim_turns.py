"""What turns each claim: for the twelve verdicts of a result set, each cost at the ends of its plausible range.

A verdict rests on many runs; a few of them are enough to see what moves it. Of the work that each claim was judged by,
some are taken, evenly spread, with every run of that work, of the first profile that settles the claim. Each of these
runs once with all figures as stated, and again with each end of each figure's range that changes anything of it
(``vfbench.search.varied``), on as many processes as are asked for. What came out of a run is kept until all are done,
so that what was interrupted goes on where it stopped; what turned is stored beside the result set, and `bench claims`
tells of it later without running anything.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from vfbench.errors import UserError
from vfbench.files import write_file
from vfbench.options import command_line
from vfbench.records import Record, ResultSet, read_records
from vfbench.search.parts import Parts
from vfbench.search.sensitivity import Plan, judged_by, plan, range_in_words
from vfbench.search.varied import (
    AS_STATED,
    run_on_model,
    variation_name,
    varied_outcomes,
    varied_record,
    vary_cell,
)
from vfbench.statistics import MEASURED
from vfbench.sweeps.specification import specification_of
from vfbench.untrusted import check_shape, parse_json, read_bytes, shown
from vfbench.verdicts import Claim, Verdict

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.records import Outcome
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

SCHEMA: Final = 1
WORKS: Final = 2
"""Works a claim: with one, a range can't move."""

MOST_BYTES: Final = 16 << 20
WANTED: Final = "what `bench claims --sensitivity` stored"

Judged = dict[str, list[str]]
"""By claim: the outcome, and the range in words."""


class StoredPlan(TypedDict):
    """What came out of the variations of one profile; ``key`` says of which runs and which code."""

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
    """What came out of each variation, in one JSON file beside the result set."""

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
    settled = [settling(judged_by(counted, [claim])) for claim in claims] if counted else []
    for label in dict.fromkeys(verdict.profile for verdict in settled if verdict is not None):
        own = [record for record in counted if _label(record) == label]
        here = [verdict for verdict in settled if verdict is not None and verdict.profile == label]
        chosen = {name for verdict in here for name in _some_works(verdict, own, works)}
        few = [record for record in own if str(record.run["experiment"]) in chosen]
        names = {verdict.claim for verdict in here}
        about = [claim for claim in claims if claim.id in names]
        yield label, plan(few, strategies, workloads, about, costs, only_what_they_rest_on=False)


def settling(verdicts: Sequence[Verdict]) -> Verdict | None:
    """Of one claim's verdicts on several profiles, the first that settles it."""
    return next((verdict for verdict in verdicts if verdict.outcome != "not-enough-data"), None)


def run_plan(
    store: Store, profile: str, planned: Plan, done: Callable[[], None], workers: int, costs: Sequence[str]
) -> None:
    """Run what is not stored yet, judge it, and store that; ``done`` is called after each experiment."""
    if not missing_experiments(store, profile, planned):
        return
    parts = Parts(store.path.with_name(f"{store.path.stem}.parts"), key_of(planned))
    waiting = [each for each in planned.experiments if parts.of(each) is None]
    for experiment, outcomes in _varied(waiting, planned, workers, costs):
        parts.keep(experiment, outcomes)
        done()
    store.plans[profile] = {
        "key": key_of(planned),
        "experiments": len(planned.experiments),
        "ends": len(planned.variations),
        "judged": _judged_all(planned, [parts.of(each) or {} for each in planned.experiments]),
    }
    store.save()
    parts.remove()


def missing_experiments(store: Store, profile: str, planned: Plan) -> int:
    """How many experiments are not run yet: none, once what came of them is stored."""
    known = store.of(profile)
    if known is not None and known["key"] == key_of(planned):
        return 0
    parts = Parts(store.path.with_name(f"{store.path.stem}.parts"), key_of(planned))
    return sum(parts.of(each) is None for each in planned.experiments)


def _varied(
    experiments: Sequence[Experiment], planned: Plan, workers: int, costs: Sequence[str]
) -> Iterator[tuple[Experiment, dict[str, Outcome]]]:
    """What came out of each, as it comes; with one worker in this process."""
    if workers == 1 or len(experiments) < 2:
        for experiment in experiments:
            yield experiment, varied_outcomes(experiment, planned.profile, planned.variations, run_on_model)
        return
    from distributed import as_completed

    from vfbench.sweeps.local import local_cluster

    with local_cluster(min(workers, len(experiments))) as client:
        futures = {
            client.submit(
                vary_cell, specification_of(experiment, planned.profile), tuple(costs), pure=False
            ): experiment
            for experiment in experiments
        }
        for future in as_completed(futures):
            yield futures[future], future.result()


def _judged_all(planned: Plan, outcomes: Sequence[Mapping[str, Outcome]]) -> dict[str, Judged]:
    """By variation, of which claims another judgement came out, and which; as stated, all of them."""
    stated = _stated_records(planned, [each[AS_STATED] for each in outcomes])
    before = _judged(judged_by(stated, planned.claims))
    judged = {AS_STATED: before}
    for name in map(variation_name, planned.variations):
        records = [
            varied_record(record, each[name]) if name in each else record
            for record, each in zip(stated, outcomes, strict=True)
        ]
        changed = any(name in each for each in outcomes)
        after = _judged(judged_by(records, planned.claims)) if changed else before
        judged[name] = {claim: found for claim, found in after.items() if found != before[claim]}
    return judged


def _stated_records(planned: Plan, outcomes: Sequence[Outcome]) -> list[Record]:
    """Records of the runs as stated, read back from a folder that goes: what the verdicts know is a record."""
    with tempfile.TemporaryDirectory(prefix="vfbench-sensitivity-") as folder:
        results = ResultSet(Path(folder) / "runs")
        for experiment, outcome in zip(planned.experiments, outcomes, strict=True):
            now = datetime.now(UTC)
            results.write(experiment, outcome, planned.profile, started=now, command=command_line(experiment))
        found = {str(record.run["experiment"]): record for record in read_records(folder)}
    return [found[experiment.digest] for experiment in planned.experiments]


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


def _label(record: Record) -> str:
    return f"{record.run['profile']}@{str(record.run['profile_digest'])[:8]}"


def _judged(verdicts: Sequence[Verdict]) -> Judged:
    return {
        verdict.claim: [verdict.outcome, range_in_words(verdict) if verdict.cells else ""]
        for verdict in verdicts
    }
