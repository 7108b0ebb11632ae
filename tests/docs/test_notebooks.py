"""The notebooks run from a clean state, and are kept with outputs that name nothing of a machine."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))

from execute import executed, machine_paths  # noqa: E402 - a script beside the notebooks, no package

every_notebook = pytest.mark.parametrize(
    "path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem
)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for cell in code(notebook) for output in cell.outputs)


@every_notebook
def test_a_notebook_is_kept_with_the_outputs_of_one_run_in_order(path: Path) -> None:
    kept = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in code(kept)] == list(range(1, len(code(kept)) + 1))
    assert pictures(kept) >= 2


@every_notebook
def test_kept_outputs_name_no_folder_of_a_machine(path: Path) -> None:
    assert machine_paths(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("text", ["/home/me/x", "see /root/a.py:3", '"/tmp/abc"', "/Users/me"])
def test_a_folder_of_a_machine_is_noticed(text: str) -> None:
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=text)])
    assert len(machine_paths(nbformat.v4.new_notebook(cells=[cell]))) == 1


def test_a_relative_path_and_a_rate_are_no_folders_of_a_machine() -> None:
    text = "../results/reference 128MiB/s pages/s strategies/x.py </tmp>"
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("stream", text=text)])
    assert machine_paths(nbformat.v4.new_notebook(cells=[cell])) == []


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_from_a_clean_state_and_draws_what_is_kept(path: Path) -> None:
    made = executed(path)
    assert machine_paths(made) == []
    assert pictures(made) == pictures(nbformat.read(path, as_version=4))
