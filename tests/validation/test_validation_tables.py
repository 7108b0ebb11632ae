"""Tables of predictions beside observations: errors, goals, storing, the page."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from vfbench.errors import UserError
from vfbench.validation.page import write_page
from vfbench.validation.show import conclude, print_table
from vfbench.validation.tables import Row, ValidationTable, load, store

GOOD = Row("a", "time", "ms", 105, 100, "relative", 0.1)
BAD = Row("a", "rounds", "", 7, 5, "absolute", 1)
UNJUDGED = Row("a", "downtime", "ms", 3.0, 1.0)


def table(*rows: Row) -> ValidationTable:
    return ValidationTable("model", "A title", "measured", rows, {"host": "this <one>"}, ("A mechanism.",))


def test_an_error_is_in_proportion_to_what_was_observed():
    assert GOOD.error == pytest.approx(0.05)
    assert GOOD.met is True


def test_an_absolute_goal_is_judged_by_the_difference():
    assert (BAD.error, BAD.met) == (2, False)


def test_a_verdict_is_met_only_by_the_same_verdict():
    assert Row("a", "converged", "", True, False, "same").met is False
    assert Row("a", "converged", "", False, False, "same").met is True


def test_a_missing_prediction_misses_its_goal():
    assert Row("a", "time", "ms", None, 5.0, "relative", 0.1).met is False


def test_the_worst_error_is_that_of_a_row_with_a_goal():
    assert table(GOOD, UNJUDGED).worst is GOOD


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((GOOD, BAD), "1 of 2 goals met; worst error +5.0 % (a: time)."),
        ((GOOD, UNJUDGED), "1 of 1 goals met; worst error +5.0 % (a: time); 1 more rows without a goal."),
        ((UNJUDGED,), "1 rows; worst error +200.0 % (a: downtime)."),
    ],
)
def test_a_table_says_in_a_line_what_was_met_and_what_has_no_goal(rows, said):
    assert table(*rows).summary() == said


def test_a_stored_table_comes_back_as_it_was(tmp_path):
    stored = table(GOOD, BAD, UNJUDGED)
    assert load(store(stored, tmp_path)) == stored


def test_a_table_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="give a writable folder"):
        store(table(GOOD), tmp_path / "file")


def test_a_file_that_is_no_table_names_the_command_to_run(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(UserError, match="run `bench validate model` again"):
        load(tmp_path / "model.json")


@pytest.mark.parametrize(("rows", "code"), [((GOOD, UNJUDGED), 0), ((GOOD, BAD), 1)])
def test_the_exit_code_tells_whether_a_goal_was_missed(tmp_path, rows, code):
    out = io.StringIO()
    assert conclude(table(*rows), as_json=True, folder=tmp_path, file=out) == code
    assert json.loads(out.getvalue())["rows"][0]["error"] == pytest.approx(0.05)


def test_the_page_escapes_what_it_shows_and_says_what_was_not_run(tmp_path):
    store(table(GOOD, BAD), tmp_path)
    path, _ = write_page(tmp_path)
    page = path.read_text()
    assert "this &lt;one&gt;" in page
    assert "qemu: not run here" in page
    assert 'class="missed"' in page
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_table_fits_and_no_figure_is_broken(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    out = io.StringIO()
    rows = (
        Row(
            "ixgbevf behind caching mode, 1518 bytes, Linux 6.12",
            "maps a frame",
            "maps",
            123456.0,
            0.5,
            "same",
        ),
        Row("b", "time", "ms", 105, 100, "relative", 0.01, note="A sentence of a note that goes on " * 6),
    )
    print_table(table(*rows), out)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert [sum(figure in line for line in lines) for figure in ("123,456", "105", "MISSED")] == [1, 1, 2]


def test_brackets_are_no_markup_and_escapes_are_not_the_terminals() -> None:
    odd = Row("t[eth0].pcap [red]", "a :smile:\x1b]0;a\x07", "ms", 1.0, 1.0, note="[link=x]\x1b[2J")
    said = io.StringIO()
    print_table(ValidationTable("model", "[b]\x1b[1m", "seen", (odd,), {"host": "\x1b[0m"}, ()), said)
    for shown in ("t[eth0].pcap [red]", ":smile:", "[link=x]", "[b]"):
        assert shown in said.getvalue()
    assert all(each.isprintable() for each in said.getvalue().split("\n"))


def test_a_pipe_in_a_tables_place_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(UserError, match="no file that a validation wrote"):
        store(table(GOOD), tmp_path)
    with pytest.raises(UserError, match="is no regular file"):
        load(tmp_path / "model.json")
