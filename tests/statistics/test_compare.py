"""Two result sets side by side: matched by experiment, warned about, and a gate for CI."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from support.fakes import Careful, Careless, experiment
from support.made_up import outcome, write

import cli
from vfbench.records import Outcome
from vfbench.report.two_sets import COMPARED


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, gbps: float = 8.0, *, seeds: tuple[int, ...] = (1, 2), **changes: object) -> None:
    for seed in seeds:
        write(Path(name), experiment(seed=seed), outcome(gbps, **changes))


def compare(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = cli.main(["compare", "a", "b", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_equal_sets_pass_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    put("a")
    put("b")
    code, out, _ = compare(capsys, "--fail-over", "5%")
    assert code == 0
    assert "gate passed: nothing is worse by more than 5 %" in out


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"gbps": 7.7}, 0),
        ({"gbps": 7.5}, 1),
        ({"gbps": 12.0}, 0),
        ({"service_gap_ms": 15.0}, 1),
        ({"service_gap_ms": 5.0}, 0),
        ({"stale_pages_payload": 1}, 1),
        ({"packets_corrupted": 1}, 1),
    ],
)
def test_the_gate_fails_on_what_got_worse_and_only_on_that(
    capsys: pytest.CaptureFixture[str], changes: dict[str, float], code: int
) -> None:
    put("a")
    put("b", **{"gbps": 8.0, **changes})  # type: ignore[arg-type]
    found, out, _ = compare(capsys, "--fail-over", "5%")
    assert found == code
    assert ("FAILS" in out) == bool(code)


def test_without_a_gate_worse_is_told_and_the_code_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    put("a")
    put("b", 4.0)
    code, out, _ = compare(capsys)
    assert code == 0
    assert "50.0% worse" in out


def test_seeds_may_differ(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", seeds=(1, 2))
    put("b", seeds=(7,))
    assert "careful: 2 and 1 runs, ok and ok" in compare(capsys)[1]


def test_what_is_in_one_set_only_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    put("a")
    put("b")
    write(Path("a"), experiment(strategy=Careless()), outcome(1.0))
    write(Path("b"), experiment(strategy=Careful(mode="deferred")), outcome(1.0))
    out = compare(capsys)[1]
    assert "only in A: careless" in out
    assert "only in B: careful mode=deferred" in out


def test_nothing_that_matches_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    put("a")
    write(Path("b"), experiment(strategy=Careless()), outcome(1.0))
    code, out, err = compare(capsys)
    assert (code, out) == (2, "")
    assert "nothing matches: none of the 1 experiments of A is among the 1 of B" in err


def test_environments_that_differ_are_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    put("a")
    put("b")
    for manifest in Path("b").glob("*/manifest.json"):
        document = json.loads(manifest.read_text())
        document["environment"]["cpu"] = "Z80"
        document["environment"]["packages"]["numba"] = "9.9"
        document["profile"]["digest"] = "f" * 64
        manifest.write_text(json.dumps(document))
    warnings = [line for line in compare(capsys)[1].splitlines() if line.startswith("warning")]
    assert [line.split(": ")[2] for line in warnings] == ["cpu", "package numba", "profile digest"]
    assert warnings[0].endswith("Z80 in B")


def test_a_run_that_fails_now_fails_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    put("a")
    for seed in (1, 2):
        write(Path("b"), experiment(seed=seed), Outcome("failed", "the ring stalled"))
    code, out, _ = compare(capsys, "--fail-over", "5%")
    assert code == 1
    assert "FAILS  of its 2 runs in B 2 failed" in out


UNMEASURED = {"guest_cycles_per_packet": None}


def end_b(*ended: Outcome) -> None:
    for seed, each in enumerate(ended, 1):
        write(Path("b"), experiment(seed=seed), each)


STUCK = dataclasses.replace(outcome(8.0), state="not-converged", reason="30 rounds")
SKIPPED = Outcome("skipped", "no such testbed")
SPOILT = {
    "never converged": lambda: end_b(STUCK, STUCK),
    "one did not converge": lambda: end_b(outcome(8.0), STUCK),
    "skipped": lambda: end_b(SKIPPED, SKIPPED),
    "a measure has no value": lambda: put("b", **UNMEASURED),  # type: ignore[arg-type]
    "a measure has fewer values": lambda: end_b(outcome(8.0), outcome(8.0, **UNMEASURED)),
    "an experiment is missing": lambda: (
        put("b"),
        write(Path("a"), experiment(strategy=Careless()), outcome(1.0)),
    ),
    "an experiment is new": lambda: (
        put("b"),
        write(Path("b"), experiment(strategy=Careless()), outcome(1.0)),
    ),
    "its times do not count": lambda: put("b", functional=True),
}
"""B, spoilt in some way that leaves nothing to be worse."""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("never converged", "of its 2 runs in B 2 not-converged"),
        ("one did not converge", "of its 2 runs in B 1 not-converged"),
        ("skipped", "of its 2 runs in B 2 skipped"),
        ("a measure has no value", "measured in A only"),
        ("a measure has fewer values", "1 of 2 runs have it in B"),
        ("an experiment is missing", "only in A: careless"),
        ("an experiment is new", "only in B: careless"),
        ("its times do not count", "measured in A only"),
    ],
)
def test_what_cannot_be_judged_fails_the_gate_and_says_so(
    capsys: pytest.CaptureFixture[str], kind: str, said: str
) -> None:
    put("a", guest_cycles_per_packet=900.0)
    SPOILT[kind]()
    code, out, _ = compare(capsys, "--fail-over", "5%")
    assert code == 1
    assert said in out
    assert "FAILS" in out
    assert "gate failed" in out
    assert json.loads(compare(capsys, "--fail-over", "5%", "--json")[1])["failing"] is True
    assert compare(capsys)[0] == 0


def test_a_baseline_that_has_no_value_fails_the_gate_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", **UNMEASURED)  # type: ignore[arg-type]
    put("b", guest_cycles_per_packet=900.0)
    code, out, _ = compare(capsys, "--fail-over", "5%")
    assert (code, "measured in B only" in out) == (1, True)


@pytest.mark.parametrize(("before", "after", "standing"), [(0.0, 3457.0, "worse"), (0.0, 0.0, "equal")])
def test_from_zero_there_is_no_share_and_something_is_worse_than_nothing(
    capsys: pytest.CaptureFixture[str], before: float, after: float, standing: str
) -> None:
    put("a", host_cycles_per_packet=before)
    put("b", host_cycles_per_packet=after)
    code, out, _ = compare(capsys, "--fail-over", "5%", "--json")
    (change,) = [
        each for each in json.loads(out)["pairs"][0]["changes"] if each["measure"] == "host_cycles_per_packet"
    ]
    assert (change["standing"], change["worse_by"]) == (standing, None if after else 0.0)
    assert code == int(standing == "worse")


def test_times_of_an_emulated_guest_pass_any_gate(capsys: pytest.CaptureFixture[str]) -> None:
    put("a", functional=True)
    put("b", 1.0, functional=True)
    code, out, _ = compare(capsys, "--fail-over", "5%")
    assert code == 0
    assert "throughput" not in out


def test_json_holds_every_watched_measure_with_its_direction_told_by_worse_by(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("a")
    put("b", 4.0)
    document = json.loads(compare(capsys, "--json", "--fail-over", "5%")[1])
    changes = {each["measure"]: each for each in document["pairs"][0]["changes"]}
    assert set(changes) == {each.measure for each in COMPARED}
    assert changes["gbps"]["worse_by"] == 0.5
    assert document["failing"] is True


@pytest.mark.parametrize("share", ["5", "x", "-1%"])
def test_a_share_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], share: str) -> None:
    put("a")
    put("b")
    code, _, err = compare(capsys, f"--fail-over={share}")
    assert (code, "--fail-over" in err) == (2, True)


def test_runs_whose_memories_were_not_compared_fail_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    put("a")
    put("b", pages_compared=0)
    code, out, _ = compare(capsys, "--fail-over", "5%")
    assert (code, "or was not compared" in out) == (1, True)


def test_a_set_with_one_experiment_under_two_versions_of_a_profile_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    put("a", seeds=(1, 2))
    put("b")
    manifest, runs = (next(Path("a").glob("*-s2-*")) / name for name in ("manifest.json", "runs.parquet"))
    document = json.loads(manifest.read_text())
    document["profile"]["digest"] = "f" * 64
    manifest.write_text(json.dumps(document))
    table = pyarrow.parquet.read_table(runs)
    at = table.column_names.index("profile_digest")
    changed = table.set_column(at, table.field(at), pyarrow.array(["f" * 64]))
    pyarrow.parquet.write_table(changed, runs)
    code, _, err = compare(capsys, "--fail-over", "5%")
    assert (code, "under two versions of profile" in err) == (2, True)
