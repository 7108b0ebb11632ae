"""A packed set: the same records in one small folder, read like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fakes import Careful, experiment
from support.made_up import outcome, two_strategies, write

import cli
from vfbench.errors import UserError
from vfbench.records import SCHEMA_VERSION, Outcome, Record, read_records, where
from vfbench.records.pack import write_packed
from vfbench.records.read import read_runs


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loose")
    two_strategies(folder, seeds=2)
    write(folder, experiment(strategy=Careful(mode="deferred")), Outcome("failed", "the ring stalled"))
    return folder


def content(record: Record) -> tuple[object, ...]:
    return record.path.name, record.manifest, record.run, record.rounds, record.intervals


def test_the_records_are_the_very_same(loose: Path, tmp_path: Path) -> None:
    records = read_records(loose)
    write_packed(records, tmp_path / "packed")
    assert [content(each) for each in read_records(tmp_path / "packed")] == [
        content(each) for each in records
    ]


def test_what_the_manifests_share_is_written_once(loose: Path, tmp_path: Path) -> None:
    write_packed(read_records(loose), tmp_path / "packed")
    document = json.loads((tmp_path / "packed" / "packed.json").read_text())
    assert [len(document[part]) for part in ("profile", "environment")] == [1, 1]
    assert document["runs"] == 5


def test_packed_and_loose_sets_may_lie_side_by_side(loose: Path, tmp_path: Path) -> None:
    write_packed(read_records(loose), tmp_path / "packed")
    write(tmp_path / "later", experiment(seed=9), outcome(1.0))
    assert len(read_records(tmp_path)) == 6


def test_a_packed_set_replaces_an_older_one_and_nothing_else(loose: Path, tmp_path: Path) -> None:
    records = read_records(loose)
    write_packed(records, tmp_path / "packed")
    with pytest.raises(UserError, match="--force replaces it"):
        write_packed(records[:1], tmp_path / "packed")
    write_packed(records[:1], tmp_path / "packed", force=True)
    assert len(read_records(tmp_path / "packed")) == 1
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a").write_text("")
    with pytest.raises(UserError, match="holds something else than a packed set"):
        write_packed(records, tmp_path / "letters")


def test_a_pack_that_cannot_be_written_leaves_the_old_one(
    loose: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = read_records(loose)
    write_packed(records, tmp_path / "packed")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vfbench.files._write_all", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_packed(records[:1], tmp_path / "packed", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]
    assert len(read_records(tmp_path / "packed")) == len(records)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("packed.json", "{", "packed.json is broken"),
        ("packed.json", "[]", r"packed.json is broken \(it names no schema version\)"),
        (
            "packed.json",
            json.dumps({"schema": 99}),
            f"has schema 99; this vfbench reads up to {SCHEMA_VERSION}",
        ),
        ("packed.json", json.dumps({"schema": 1}), "manifests.parquet is broken"),
        ("runs.parquet", "", "runs.parquet is broken"),
    ],
)
def test_a_broken_packed_set_is_refused_by_name(
    loose: Path, tmp_path: Path, file: str, text: str, message: str
) -> None:
    write_packed(read_records(loose), tmp_path / "packed")
    (tmp_path / "packed" / file).write_text(text)
    with pytest.raises(UserError, match=message):
        read_records(tmp_path / "packed")


def test_thin_keeps_every_run_and_one_timeline_of_each_experiment(
    loose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", str(loose), "-o", str(tmp_path / "packed"), "--thin"]) == 0
    assert capsys.readouterr().err.startswith("5 runs in ")
    kept = {record.run["seed"]: len(record.intervals) for record in read_records(tmp_path / "packed")[:4]}
    assert kept == {1: 6, 2: 0}


def test_where_keeps_strategies_that_have_no_such_parameter(loose: Path) -> None:
    chosen = where(read_runs(loose), {"strategy.mode": "strict", "state": "ok"})
    assert sorted(set(chosen["strategy"])) == ["careful", "careless"]


def test_where_says_what_there_is(loose: Path) -> None:
    runs = read_runs(loose)
    with pytest.raises(UserError, match=r"no row has workload.frame_bytes 65; there are: 64"):
        where(runs, {"workload.frame_bytes": 65})
    with pytest.raises(UserError, match=r"no column 'workload.fram_bytes' - did you mean"):
        where(runs, {"workload.fram_bytes": 65})
