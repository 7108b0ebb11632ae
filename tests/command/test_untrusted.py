"""Files that may be anybody's: one line, exit code 2, whatever is in them."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from support.fakes import experiment
from support.made_up import outcome, write

import cli
from vfbench.errors import UserError
from vfbench.profiles import load_profile
from vfbench.records import read_records
from vfbench.records.tables import read_arrow
from vfbench.sweeps.grid import read_grids
from vfbench.untrusted import DEEPEST, one_line, parse_json

GRID = '[[grid]]\nname = "a"\nstrategies = ["untracked"]\nworkloads = ["bulk"]\n'
HOSTILE = {
    "nested deep": "a = " + "[" * 100_000,
    "nested deep and closed": "a = " + "[" * 5000 + "]" * 5000,
    "dotted deep": "a" + ".a" * 5000 + " = 1",
    "an integer of 5,000 digits": "a = " + "9" * 5000,
    "a hundred thousand keys": "\n".join(f"k{i} = 1" for i in range(60_000)),
    "over its size": "#" * (1 << 20) + "\na = 1",
    "binary": "\0\1\2",
}


def refusal(path: Path) -> list[str]:
    messages = []
    for read in (read_grids, load_profile):
        with pytest.raises(UserError) as caught:
            read(path)  # type: ignore[operator]
        messages.append(str(caught.value))
    assert not any("\n" in each or len(each) > 4000 for each in messages)
    return messages


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_toml_is_refused_in_a_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.toml").write_text(HOSTILE[kind])
    assert all("a.toml" in each for each in refusal(tmp_path / "a.toml"))


@pytest.mark.parametrize("line", ["repeats = 1000000000", "repeats = 10001", "repeats = 0"])
def test_repeats_are_bounded(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.toml").write_text(GRID + line)
    with pytest.raises(UserError, match=r"repeats: [0-9]+ is no whole number from 1 to 10000"):
        read_grids(tmp_path / "a.toml")


def test_a_long_value_is_shown_in_short(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GRID + f"repeats = {'9' * 4000}")
    with pytest.raises(UserError) as caught:
        read_grids(tmp_path / "a.toml")
    assert len(str(caught.value)) < 300


def test_a_byte_order_mark_is_no_part_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbf" + GRID.encode())
    assert read_grids(tmp_path / "a.toml")[0].name == "a"


def test_a_pipe_a_device_and_a_folder_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for path in (tmp_path / "pipe.toml", tmp_path / "folder.toml"):
        assert all("is no regular file" in each or "is a directory" in each for each in refusal(path))
    with pytest.raises(UserError, match="is no regular file"):
        read_grids(Path("/dev/zero"))


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "[" * 40 + "]" * 40, "1" * 5000 + "x", "{", '{"a": NaN}', ""]
)
def test_hostile_json_is_a_value_error(content: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"wall_s": [1]}, "its 'wall_s' is [1]"),
        ({"started": 5}, "its 'started' is 5"),
        ({"profile": {"name": "a"}}, "its 'profile.digest' is None"),
        ({"environment": {"cpu": [1]}}, "its 'environment"),
    ],
)
def test_a_manifest_of_other_types_is_broken(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    folder = write(tmp_path, experiment(), outcome(8.0))
    path = next(tmp_path.rglob("manifest.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(UserError) as caught:
        read_records(tmp_path)
    assert folder
    assert reason in str(caught.value)


@pytest.mark.parametrize("group", ["guest", "workload"])
def test_a_list_for_a_setting_is_broken(tmp_path: Path, group: str) -> None:
    write(tmp_path, experiment(), outcome(8.0))
    path = next(tmp_path.rglob("manifest.json"))
    manifest = json.loads(path.read_text())
    part = manifest["experiment"][group]
    (part["parameters"] if group == "workload" else part)["memory_bytes"] = [1]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"manifest\.json is broken"):
        read_records(tmp_path)


def test_a_small_parquet_that_unfolds_to_gigabytes_is_refused(tmp_path: Path) -> None:
    """A text of 4 kB a million times: 4 GiB as Arrow's strings, some kB with dictionary and run lengths."""
    numbers = pyarrow.array([0] * (1 << 20), pyarrow.int32())
    column = pyarrow.DictionaryArray.from_arrays(numbers, pyarrow.array(["x" * 4096]))
    pyarrow.parquet.write_table(pyarrow.table({"state": column}), tmp_path / "a.parquet", store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="its column 'state' unfolds to more than 268435456 bytes"):
        read_arrow(tmp_path / "a.parquet")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_parquet_of_too_many_rows_is_refused(tmp_path: Path) -> None:
    zeros = pyarrow.array([0] * 9_000_000, pyarrow.int64())
    pyarrow.parquet.write_table(pyarrow.table({"a": zeros}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="it holds 9000000 cells"):
        read_arrow(tmp_path / "a.parquet")


def test_what_nobody_foresaw_is_told_as_a_bug_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli.bench, "main", fail)
    assert cli.main(["doctor"]) == cli.EXIT_BUG
    told = capsys.readouterr().err
    assert told.startswith(
        "bench: a bug in vfbench: KeyError: 'surprise'; please report it with the traceback"
    )
    assert "surprise" in next(tmp_path.glob("bench-traceback-*")).read_text()


def test_a_message_holds_nothing_that_a_terminal_acts_on() -> None:
    assert one_line("a\x1b]0;title\x07b\n c\u202ed") == r"a\x1b]0;title\x07b c\u202ed"
