"""What things cost: profiles in TOML, every figure with its unit, its source and how sure it is.

`load_profile` refuses a profile that lacks a figure, holds one that is unknown, or states one badly, with a
`UserError` of one line that names the file, the figure, the value and what would do. Code that is given a
`Profile` need not check again.

A shipped profile may say `inherit = "<another>"` and state only what is different on its machine. What it takes
over was found on another machine, so it becomes an estimate, letter C, and its source says so; what is the same
software or the same rule there (a QEMU default, a driver's wait) is listed in `holds` and keeps letter and source.
Figures in cycles are taken over as cycles: the heir's clock turns them into time.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from vfbench.errors import UserError
from vfbench.profiles.figures import REQUIRED, UNITS, Dimension

__all__ = [
    "REQUIRED",
    "SCHEMA",
    "Figure",
    "Measured",
    "Profile",
    "load_profile",
    "shipped_profiles",
]

SCHEMA: Final = 1

Sure = Literal["A", "B", "C", "M"]

_FOLDER: Final = Path(__file__).parent
_HEADER: Final = ("schema", "name", "summary", "costs")
_HEIR_HEADER: Final = (*_HEADER, "inherit", "holds")
_SURE: Final = ("A", "B", "C", "M")
_PICOSECONDS: Final[Mapping[str, int]] = MappingProxyType({"ns": 10**3, "us": 10**6, "ms": 10**9})


@dataclass(frozen=True)
class Measured:
    """How a figure with letter M was measured: where, when, how, how often; `value` is the median of the repeats.

    Its figure's `low` and `high` are the repeats' 5th and 95th percentile.
    """

    host: str
    date: str
    method: str
    repeats: int


@dataclass(frozen=True)
class Figure:
    """One cost: `value` in `unit`, plausible from `low` to `high`.

    `sure` is A (read in the source itself), B (quoted by a third party), C (memory or an estimate) or M (measured
    by `bench calibrate`; then `measured` says how).
    """

    value: float
    unit: str
    sure: Sure
    source: str
    low: float
    high: float
    what: str
    measured: Measured | None = None

    def to_json(self) -> dict[str, Any]:
        """Every field, under its own name; `measured` only where there is one."""
        document = asdict(self)
        if self.measured is None:
            del document["measured"]
        return document


@dataclass(frozen=True)
class Profile:
    """A complete set of figures. `digest` is the SHA-256 of the content, whatever the file's layout."""

    name: str
    summary: str
    figures: Mapping[str, Figure] = field(hash=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Freeze the figures and derive the digest: `dataclasses.replace` cannot leave a stale one."""
        object.__setattr__(self, "figures", MappingProxyType(dict(self.figures)))
        canonical = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "digest", hashlib.sha256(canonical.encode()).hexdigest())

    def __reduce__(self) -> tuple[type[Profile], tuple[str, str, dict[str, Figure]]]:
        """Rebuild on the other side: worker processes get profiles, and a mapping proxy does not pickle."""
        return Profile, (self.name, self.summary, dict(self.figures))

    def value(self, name: str) -> float:
        """The figure as the file states it, in the file's unit."""
        return self.figures[name].value

    def picoseconds(self, name: str) -> int:
        """A figure of dimension time, rounded to whole picoseconds; cycles by `cpu_frequency`.

        Raises ValueError for a figure that is not a time.
        """
        figure = self.figures[name]
        if figure.unit == "cycles":
            return round(figure.value * 1000 / self.value("cpu_frequency"))
        if figure.unit in _PICOSECONDS:
            return round(figure.value * _PICOSECONDS[figure.unit])
        raise ValueError(f"{name} is not a time but a figure in {figure.unit}")

    def picoseconds_per_byte(self, name: str) -> float:
        """A figure of dimension rate, turned round, so that callers need not know which unit the file chose.

        Raises ValueError for a figure that is not a rate.
        """
        figure = self.figures[name]
        if figure.unit == "bytes_per_cycle":
            return 1000 / (figure.value * self.value("cpu_frequency"))
        if figure.unit == "bytes_per_us":
            return 10**6 / figure.value
        raise ValueError(f"{name} is not a rate but a figure in {figure.unit}")

    def to_json(self) -> dict[str, Any]:
        """The content in the shape of the file, and the digest."""
        return {**self._content(), "digest": self.digest}

    def _content(self) -> dict[str, Any]:
        costs = {name: figure.to_json() for name, figure in self.figures.items()}
        return {"schema": SCHEMA, "name": self.name, "summary": self.summary, "costs": costs}


_FIGURE_KEYS: Final = tuple(each.name for each in fields(Figure) if each.name != "measured")
_MEASURED_KEYS: Final = tuple(each.name for each in fields(Measured))


def shipped_profiles() -> tuple[str, ...]:
    """The names of the profiles that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_profile(name_or_path: str | os.PathLike[str]) -> Profile:
    """Read a shipped profile by its name, or any by the path of its .toml file. Raises UserError."""
    path = _find(name_or_path)
    # A shipped profile is named by its file alone: where the package lies is no help to a user.
    where = path.name if path.parent == _FOLDER else str(path)
    content = _parse(path, where)
    inherits = "inherit" in content
    _check_header(content, where, _HEIR_HEADER if inherits else _HEADER)
    inherited = _inherited(content, where) if inherits else {}
    _check_names(content["costs"], where, inherited)
    figures = {
        name: _figure(content["costs"][name], dimension, f"{where}: {name}")
        if name in content["costs"]
        else inherited[name]
        for name, dimension in REQUIRED.items()
    }
    return Profile(content["name"], content["summary"], figures)


def _inherited(content: Mapping[str, Any], where: str) -> dict[str, Figure]:
    """The base's figures as the heir has them: what `holds` there too as it is, the rest as estimates."""
    base, holds = content["inherit"], content["holds"]
    others = tuple(each for each in shipped_profiles() if each != content["name"])
    if base not in others:
        raise UserError(f"{where}: inherit {base!r} is no shipped profile; there are {_list(others)}")
    if not isinstance(holds, list):
        raise UserError(
            f"{where}: holds {holds!r} is no list; give the names of figures that are the same here"
        )
    for name in holds:
        if name not in REQUIRED:
            raise UserError(
                f"{where}: holds: unknown figure {name!r}; {_suggest(str(name), tuple(REQUIRED))}"
            )
        if name in content["costs"]:
            raise UserError(f"{where}: holds {name!r}, and [costs.{name}] states it; leave one of them out")
    return {
        name: figure if name in holds else _taken_over(figure, base)
        for name, figure in load_profile(base).figures.items()
    }


def _taken_over(figure: Figure, base: str) -> Figure:
    source = f"Estimate: as on {base}, where it is {figure.sure}: {figure.source}"
    return replace(figure, sure="C", source=source, measured=None)


def _find(name_or_path: str | os.PathLike[str]) -> Path:
    given = os.fspath(name_or_path)
    if given in shipped_profiles():
        return _FOLDER / f"{given}.toml"
    path = Path(given)
    if path.suffix != ".toml":
        shipped = ", ".join(shipped_profiles())
        raise UserError(f"no profile {given!r}; there are {shipped}, or give the path of a .toml file")
    return path


def _parse(path: Path, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror}); give a readable .toml file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: not TOML ({error}); correct it there") from error


def _check_header(content: Mapping[str, Any], where: str, keys: tuple[str, ...]) -> None:
    _check_keys(content, keys, where)
    schema = content["schema"]
    if type(schema) is not int or schema != SCHEMA:
        raise UserError(f"{where}: schema {schema!r} is not known; {SCHEMA} is")
    for key in ("name", "summary"):
        _text(content, key, where)
    if not isinstance(content["costs"], dict):
        raise UserError(
            f"{where}: costs {content['costs']!r} is no table; write one [costs.<figure>] per figure"
        )


def _check_names(costs: Mapping[str, Any], where: str, inherited: Mapping[str, Figure]) -> None:
    for name in costs:
        if name not in REQUIRED:
            raise UserError(f"{where}: unknown figure {name!r}; {_suggest(name, tuple(REQUIRED))}")
    for name, dimension in REQUIRED.items():
        if name not in costs and name not in inherited:
            raise UserError(f"{where}: {name} is missing; add [costs.{name}], in {_either(UNITS[dimension])}")


def _figure(table: Any, dimension: Dimension, where: str) -> Figure:
    """`where` names the file and the figure."""
    if not isinstance(table, dict):
        raise UserError(f"{where}: {table!r} is no table; give {_list(_FIGURE_KEYS)}")
    measured = isinstance(table.get("measured"), dict) or table.get("sure") == "M"
    _check_keys(table, (*_FIGURE_KEYS, "measured") if measured else _FIGURE_KEYS, where)
    _check_choice(table, "unit", UNITS[dimension], where)
    _check_choice(table, "sure", _SURE, where)
    figure = Figure(
        value=_number(table, "value", dimension, where),
        unit=table["unit"],
        sure=cast(Sure, table["sure"]),
        source=_text(table, "source", where),
        low=_number(table, "low", dimension, where),
        high=_number(table, "high", dimension, where),
        what=_text(table, "what", where),
        measured=_measured(table["measured"], f"{where}: measured") if measured else None,
    )
    if not figure.low <= figure.value <= figure.high:
        raise UserError(
            f"{where}: value {figure.value:g} is not between low {figure.low:g} and high {figure.high:g}; "
            "low <= value <= high"
        )
    return figure


def _measured(table: Any, where: str) -> Measured:
    if not isinstance(table, dict):
        raise UserError(f"{where} {table!r} is no table; give {_list(_MEASURED_KEYS)}")
    _check_keys(table, _MEASURED_KEYS, where)
    return Measured(
        host=_text(table, "host", where),
        date=_text(table, "date", where),
        method=_text(table, "method", where),
        repeats=int(_number(table, "repeats", "count", where)),
    )


def _number(table: Mapping[str, Any], key: str, dimension: Dimension, where: str) -> float:
    number = table[key]
    if not _is_finite(number):
        raise UserError(f"{where}: {key} {number!r} is not a finite number; give one")
    accepts, wanted = _BOUNDS[dimension]
    if not accepts(number):
        raise UserError(f"{where}: {key} {number!r} does not do for a {dimension} figure; give {wanted}")
    return float(number)


def _is_finite(number: object) -> bool:
    # bool is an int to Python, but `value = true` is no cost; a TOML integer may exceed every float.
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return math.isfinite(number) if isinstance(number, float) else abs(number) <= sys.float_info.max


def _not_negative(number: float) -> bool:
    return number >= 0


def _positive(number: float) -> bool:
    return number > 0


def _whole(number: float) -> bool:
    return number >= 0 and number == int(number)


_BOUNDS: Final[Mapping[Dimension, tuple[Callable[[float], bool], str]]] = MappingProxyType(
    {
        "time": (_not_negative, "zero or more"),
        # Rates and the frequency are divided by.
        "rate": (_positive, "more than zero"),
        "frequency": (_positive, "more than zero"),
        "count": (_whole, "a whole number, zero or more"),
        "bytes": (_whole, "a whole number, zero or more"),
    }
)


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    text = table[key]
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: {key} {text!r} is no text; give a sentence in quotes")
    return text


def _check_choice(table: Mapping[str, Any], key: str, choices: tuple[str, ...], where: str) -> None:
    if table[key] not in choices:
        raise UserError(f"{where}: {key} {table[key]!r} does not do; give {_either(choices)}")


def _check_keys(table: Mapping[str, Any], wanted: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in wanted:
            raise UserError(f"{where}: unknown key {key!r}; {_suggest(key, wanted)}")
    for key in wanted:
        if key not in table:
            raise UserError(f"{where}: {key} is missing; give {_list(wanted)}")


def _suggest(given: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {close[0]}?" if close else "leave it out"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def _either(choices: tuple[str, ...]) -> str:
    return " or ".join(choices)
