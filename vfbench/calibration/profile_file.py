"""Writing a profile as the TOML that `--profile` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator

from vfbench.calibration.measurement import Result
from vfbench.profiles import SCHEMA, Figure, Profile


def profile_text(profile: Profile, beside: tuple[Result, ...]) -> str:
    """The file's text; what belongs to no cost goes in as comments."""
    return "\n".join(_lines(profile, beside)) + "\n"


def _lines(profile: Profile, beside: tuple[Result, ...]) -> Iterator[str]:
    yield "# Written by bench calibrate. Letter M: measured here; the others are those of the base profile."
    for each in beside:
        yield f"# Beside the costs: {each.figure} {each.median:.4g} {each.unit} ({each.low:.4g} to {each.high:.4g}),"
        yield f"#   {each.method}."
    yield ""
    yield f"schema = {SCHEMA}"
    yield f"name = {_text(profile.name)}"
    yield f"summary = {_text(profile.summary)}"
    for name, feature in profile.machine.items():
        yield from ("", f"[machine.{name}]")
        yield f"has = {json.dumps(feature.has, ensure_ascii=False)}"
        yield f"sure = {_text(feature.sure)}"
        yield f"source = {_text(feature.source)}"
    for name, figure in profile.figures.items():
        yield from _figure_lines(name, figure)


def _figure_lines(name: str, figure: Figure) -> Iterator[str]:
    yield ""
    yield f"[costs.{name}]"
    for key in ("value", "unit", "sure", "source", "low", "high", "what"):
        value = getattr(figure, key)
        yield f"{key} = {_text(value) if isinstance(value, str) else repr(value)}"
    if figure.measured is not None:
        yield ""
        yield f"[costs.{name}.measured]"
        yield f"host = {_text(figure.measured.host)}"
        yield f"date = {_text(figure.measured.date)}"
        yield f"method = {_text(figure.measured.method)}"
        yield f"repeats = {figure.measured.repeats}"


def _text(value: str) -> str:
    """A basic string of TOML: JSON's escapes are among TOML's; DEL is the one that JSON leaves bare."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
