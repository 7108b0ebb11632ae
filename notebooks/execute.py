"""Run notebooks from a clean state and keep their outputs: what `make notebooks` does, and its test.

    python notebooks/execute.py [--results FOLDER] [--to FOLDER] [NOTEBOOK.ipynb ...]

Each runs in a kernel of its own, in the folder `notebooks`. Outputs are stored without run times and without what
was said on stderr; a notebook whose outputs name a folder of this machine is refused. `--results` takes the place
of what a notebook's line `RESULTS = ...` names.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from vfbench.files import write_file

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 1800
MACHINE_PATH = re.compile(r"(?<![\w.<:/])/(?:home|root|tmp|usr|var|work|opt|mnt|Users)/[\w.-]+")


def executed(path: Path, results: Path | None = None) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run just made; raises what a cell raises."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if results is not None:
            named = os.path.relpath(results.resolve(), HERE)
            cell.source = re.sub(r"^RESULTS = .*$", f'RESULTS = "{named}"', cell.source, flags=re.MULTILINE)
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
        record_timing=False,
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02}"
    return notebook


def machine_paths(notebook: nbformat.NotebookNode) -> list[str]:
    """Folders of a machine that the texts of outputs name."""
    texts = [
        text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for text in (output.get("text", ""), *map(str, _texts_of(output)))
    ]
    return sorted({found for text in texts for found in MACHINE_PATH.findall(text)})


def _texts_of(output: nbformat.NotebookNode) -> list[str]:
    return [text for kind, text in output.get("data", {}).items() if not kind.startswith("image/png")]


def main() -> int:
    """Execute those named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted(HERE.glob("*.ipynb")))
    parser.add_argument(
        "--to", type=Path, default=HERE, metavar="FOLDER", help="where they go, outputs and all"
    )
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="read these records instead")
    options = parser.parse_args()
    for path in options.notebooks:
        notebook = executed(path, options.results)
        if named := machine_paths(notebook):
            print(f"{path.name}: outputs name folders of this machine: {', '.join(named)}", file=sys.stderr)
            return 1
        write_file(options.to / path.name, nbformat.writes(notebook).rstrip("\n") + "\n", replace=True)
        print(f"{path.name}: done", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
