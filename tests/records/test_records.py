"""Records: there in full or not at all, and read back as they were measured."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import Careless, Figures, experiment, outcome

from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.records import (
    INTERVALS,
    MEASURES,
    ROUNDS,
    RUNS,
    SCHEMA_VERSION,
    Column,
    Outcome,
    ResultSet,
    read_intervals,
    read_record,
    read_records,
    read_rounds,
    read_runs,
)
from vfbench.records.parquet import parquet

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def write(
    results: Path, made: Experiment | None = None, ended: Outcome | None = None, later: int = 0
) -> Path:
    folder = ResultSet(results / "set")
    return folder.write(
        made or experiment(),
        ended or outcome(),
        Figures(),
        started=NOW.replace(minute=later),
        command="bench run --strategy careful",
    )


def test_a_result_set_is_named_by_time_strategies_and_workload(tmp_path: Path) -> None:
    assert (
        ResultSet.create(tmp_path, ["a", "b"], "steady", NOW).folder.name
        == "20260102-030405-2-strategies-steady"
    )


def test_a_result_set_takes_no_name_that_is_taken(tmp_path: Path) -> None:
    ResultSet.create(tmp_path, ["a"], "steady", NOW)
    assert ResultSet.create(tmp_path, ["a"], "steady", NOW).folder.name == "20260102-030405-a-steady-2"


def test_a_run_is_read_back_as_it_was_measured(tmp_path: Path) -> None:
    record = read_record(write(tmp_path))
    assert record.run["gbps"] == 9.5
    assert record.run["packets_delivered"] == 990
    assert record.run["converged"] is True
    assert [row["sent_pages"] for row in record.rounds] == [262144, 512]
    assert record.intervals[0]["phase"] == "steady"


def test_what_was_not_measured_is_missing_and_never_zero(tmp_path: Path) -> None:
    record = read_record(write(tmp_path))
    assert record.run["mpps"] is None
    assert read_runs(tmp_path)["dma_faults"].isna().all()


COLUMNS = tuple(Column(type_, type_, "", "") for type_ in ("int64", "float64", "bool", "string"))
VALUES = (
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(),
)
ROWS = st.lists(st.tuples(*(st.none() | values for values in VALUES)), max_size=20)


@given(ROWS)
def test_a_table_is_read_back_value_for_value(rows: list[tuple[Any, ...]]) -> None:
    names = [column.name for column in COLUMNS]
    written = [dict(zip(names, row, strict=True)) for row in rows]
    read = pyarrow.parquet.read_table(io.BytesIO(parquet(written, COLUMNS)))
    assert read.to_pylist() == written


def test_a_column_goes_with_its_unit_and_meaning(tmp_path: Path) -> None:
    found = pyarrow.parquet.read_schema(write(tmp_path) / "runs.parquet").field("downtime_ms").metadata
    assert (found[b"unit"], found[b"meaning"][:17]) == (b"ms", b"from the first th")


def test_encoding_a_table_imports_no_pandas() -> None:
    code = """
import sys
from vfbench.records.parquet import parquet
from vfbench.records.schema import RUNS
parquet([dict.fromkeys([column.name for column in RUNS])], RUNS)
print("pandas" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert told.stdout == "False\n"


def test_a_run_folder_is_named_by_experiment_seed_and_digest(tmp_path: Path) -> None:
    made = experiment(seed=7)
    assert write(tmp_path, made).name == f"careful_steady-s7-{made.digest}"


def test_the_manifest_says_what_it_takes_to_repeat_the_run(tmp_path: Path) -> None:
    made = experiment()
    manifest = json.loads((write(tmp_path, made) / "manifest.json").read_text())
    assert manifest["schema"] == SCHEMA_VERSION
    assert manifest["experiment"] == made.to_json()
    assert manifest["profile"] == {"name": "made-up", "digest": "0123456789abcdef", "figures": {"exit": 1}}
    assert manifest["command"] == "bench run --strategy careful"
    assert manifest["started"] == "2026-01-02T03:00:05.000+00:00"
    assert {"cpu", "kernel", "os", "python", "packages", "source_hash", "git_commit"} <= set(
        manifest["environment"]
    )


def test_the_same_run_twice_gives_the_same_bytes_whenever_and_however_fast(tmp_path: Path) -> None:
    one = write(tmp_path / "one", ended=outcome(wall_s=1.0))
    other = write(tmp_path / "other", ended=outcome(wall_s=2.0), later=9)
    for table in ("runs", "rounds", "intervals"):
        assert (one / f"{table}.parquet").read_bytes() == (other / f"{table}.parquet").read_bytes()


def test_a_finished_run_is_never_overwritten(tmp_path: Path) -> None:
    folder = write(tmp_path)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="never overwritten"):
        write(tmp_path, ended=outcome(state="failed", reason="later"))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_nothing_but_finished_runs_is_left_in_the_result_set(tmp_path: Path) -> None:
    folder = write(tmp_path)
    assert list((tmp_path / "set").iterdir()) == [folder]


def test_a_results_folder_that_is_a_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match=r"results' can't be written .*--results DIR"):
        ResultSet.create(tmp_path / "results", ["a"], "steady", NOW)


def test_a_record_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        write(tmp_path)
    assert list((tmp_path / "set").iterdir()) == []


KILLED = """
import os, signal, sys, time
from pathlib import Path
import test_records

sync = os.fsync

def slow(descriptor):
    sync(descriptor)
    path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    if sys.argv[2] in (path.name, "the folder" if path.name.startswith(".vfbench-") else ""):
        print("in the middle", flush=True)
        time.sleep(60)

os.fsync = slow
test_records.write(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", ["runs.parquet", "manifest.json", "the folder"])
def test_a_writer_killed_in_the_middle_leaves_no_result(tmp_path: Path, moment: str) -> None:
    earlier = write(tmp_path, experiment(seed=2))
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), moment],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"in the middle\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert len(list((tmp_path / "set").glob(".*"))) == 1
    assert [record.path for record in read_records(tmp_path)] == [earlier]
    assert write(tmp_path).exists()  # and the run can be repeated into the same set


def test_a_hidden_folder_is_no_result_even_when_named(tmp_path: Path) -> None:
    folder = write(tmp_path)
    hidden = folder.rename(folder.with_name(".careful.123"))
    for path in (tmp_path, hidden):
        with pytest.raises(UserError, match="holds no finished run"):
            read_records(path)


def test_a_folder_without_a_manifest_is_no_result(tmp_path: Path) -> None:
    (write(tmp_path) / "manifest.json").unlink()
    with pytest.raises(UserError, match="holds no finished run"):
        read_records(tmp_path)


def test_a_path_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no result at .*nowhere"):
        read_records(tmp_path / "nowhere")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    manifest = write(tmp_path) / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"schema": {SCHEMA_VERSION}', '"schema": 99'))
    with pytest.raises(UserError, match=r"manifest.json has schema 99; this vfbench reads up to"):
        read_records(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": "1"}', '{"schema": 1}', "\ud800"])
def test_a_broken_manifest_is_refused_by_name(tmp_path: Path, content: str) -> None:
    manifest = write(tmp_path) / "manifest.json"
    manifest.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match=r"manifest.json is broken"):
        read_records(tmp_path)


@pytest.mark.parametrize("table", ["runs", "rounds", "intervals"])
@pytest.mark.parametrize("kept", [0, 4, 300])
def test_a_truncated_table_is_refused_by_name(tmp_path: Path, table: str, kept: int) -> None:
    path = write(tmp_path) / f"{table}.parquet"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{table}.parquet is broken"):
        read_records(tmp_path)


def test_frames_carry_identity_and_parameters_in_every_row(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, experiment(strategy=Careless(), seed=2), later=1)
    runs, rounds, intervals = read_runs(tmp_path), read_rounds(tmp_path), read_intervals(tmp_path)
    assert list(runs["strategy"]) == ["careful", "careless"]
    assert list(rounds["seed"]) == [1, 1, 2, 2]
    assert list(intervals["testbed"]) == ["model", "model"]
    for frame in (runs, rounds, intervals):
        assert (frame["guest.memory_bytes"] == 1 << 30).all()
        assert (frame["workload.frame_bytes"] == 64).all()
        assert frame["state"].eq("ok").all()
    assert list(runs["strategy.mode"].fillna("")) == ["strict", ""]


def test_frames_have_the_types_of_the_schema_even_where_all_is_missing(tmp_path: Path) -> None:
    write(tmp_path, ended=Outcome(state="failed", reason="no more memory"))
    runs = read_runs(tmp_path)
    assert runs["packets_lost"].dtype == pandas.Int64Dtype()
    assert runs["gbps"].dtype == float
    assert runs["converged"].dtype == pandas.BooleanDtype()
    assert len(read_rounds(tmp_path)) == 0
    assert "guest.memory_bytes" in read_rounds(tmp_path)


@pytest.mark.parametrize("columns", [RUNS, ROUNDS, INTERVALS])
def test_every_column_has_a_type_and_a_meaning_and_a_name_of_its_own(columns: Any) -> None:
    assert len({column.name for column in columns}) == len(columns)
    for column in columns:
        assert column.type in ("int64", "float64", "bool", "string")
        assert column.meaning


def test_a_columns_name_ends_with_its_unit() -> None:
    suffixes = {"us": "_us", "ms": "_ms", "bytes": "_bytes", "pages/s": "_per_s", "Gb/s": "gbps"}
    for column in MEASURES:
        if column.unit in suffixes:
            assert suffixes[column.unit] in column.name


@pytest.mark.parametrize(
    ("measures", "complaint"),
    [
        ({"gigabits": 1.0}, "the schema has no column gigabits"),
        ({"rounds": 1.5}, "column rounds takes int64, not 1.5"),
        ({"rounds": True}, "column rounds takes int64, not True"),
        ({"gbps": "fast"}, "column gbps takes float64, not 'fast'"),
        ({"gbps": float("inf")}, "column gbps takes float64, not inf"),
        ({"converged": 1}, "column converged takes bool, not 1"),
    ],
)
def test_a_testbed_that_breaks_the_schema_hears_of_it(measures: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Outcome(state="ok", measures=measures)


def test_nan_is_recorded_as_missing() -> None:
    assert Outcome(state="ok", measures={"gbps": float("nan")}).measures["gbps"] is None


@pytest.mark.parametrize(("state", "reason"), [("fine", ""), ("failed", ""), ("skipped", "")])
def test_a_state_is_one_of_five_and_says_why_unless_it_is_ok(state: str, reason: str) -> None:
    with pytest.raises(ValueError, match="state"):
        Outcome(state=state, reason=reason)
