"""All validations on one self-contained page, from their stored tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vfbench.validation.show import cells
from vfbench.validation.tables import FOLDER, ValidationTable, load_all, write_whole

VALIDATIONS: Final = ("published", "qemu", "linux", "model")
"""In the order of the page."""
PAGE: Final = "index.html"
_TITLE: Final = "<title>vfbench: can it be trusted?</title>"
"""By which its own page is known: another is not replaced."""
_TEMPLATE: Final = Path(__file__).with_name("page.html.j2")


def write_page(folder: Path = FOLDER) -> tuple[Path, list[ValidationTable]]:
    """Write `<folder>/index.html` from the tables stored there; the page says which validation was not run."""
    tables = load_all(VALIDATIONS, folder)
    path = folder / PAGE
    write_whole(path, page(tables), lambda text: _TITLE in text)
    return path, tables


def page(tables: Sequence[ValidationTable]) -> str:
    """The page as HTML, without a reference to anything outside it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    run = {table.name for table in tables}
    missing = [name for name in VALIDATIONS if name not in run]
    return template.render(tables=tables, missing=missing, cells=cells)
