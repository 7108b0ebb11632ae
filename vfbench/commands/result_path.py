"""How a command finds a result: by its path, by its name in `results`, or as `latest` and `previous`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vfbench.commands.complete import complete_result
from vfbench.parameters import unknown

ROOT = Path("results")
RECENT = {"latest": 1, "previous": 2}


class ResultPath(click.ParamType):  # type: ignore[type-arg]
    """A path that exists, or the name of a result set in `results`, or its beginning if no other begins so."""

    name = "result"

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> Path:
        """The path; what is none is left to the reader of records, which says what would do."""
        return value if isinstance(value, Path) else found(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Names and folders."""
        return complete_result(ctx, param, incomplete)


def found(text: str, root: Path = ROOT) -> Path:
    """Where a result is. UserError for `latest` without any, and for a beginning that two sets share."""
    path = Path(text)
    if path.exists():
        return path
    names = names_of_sets(root)
    if text in RECENT:
        if len(names) < RECENT[text]:
            raise unknown(f"{str(root)!r} holds {len(names)} result sets, so there is no", text, names)
        return root / names[-RECENT[text]]
    if (root / text).exists() and text:
        return root / text
    matching = [name for name in names if text and (name.startswith(text) or text in name)]
    if len(matching) > 1:
        raise unknown(f"{len(matching)} result sets match; say more than", text, matching)
    return root / matching[0] if matching else path


def names_of_sets(root: Path = ROOT) -> list[str]:
    """The result sets in `root`, the latest last: by when the first of their runs began."""
    from vfbench.report.result_sets import set_folders

    return [folder.name for folder in set_folders(root)]


result_argument = click.argument("result", type=ResultPath(), metavar="RESULT")
RESULT_HELP = "RESULT: a folder, the name of a set in `results` or its beginning, `latest`, or `previous`."
