"""What `bench ndr --json` found, for the page: rates without loss, and the latency at shares of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vfbench.errors import UserError
from vfbench.report.ndr_table import latency_text, rate_texts
from vfbench.search.ndr import LOADS, Found
from vfbench.untrusted import check_shape, parse_json, read_bytes, shown

MOST_BYTES = 1 << 20
WANTED = "what `bench ndr --json` printed"
COLUMNS = (
    "frame B",
    "NDR Mpackets/s",
    "Gb/s",
    "of the link",
    *(f"p50 us at {load:.0%}" for load in LOADS),
    *(f"p99 us at {load:.0%}" for load in LOADS),
)


@dataclass(frozen=True)
class NdrRow:
    """A strategy at a frame size; why there is no answer, if a run failed."""

    strategy: str
    cells: tuple[str, ...]
    reason: str


def read_ndr(path: Path) -> tuple[NdrRow, ...]:
    """The rows of a document of `bench ndr --json`; UserError for any other file."""
    import msgspec

    name = shown(path)
    content = read_bytes(path, name, MOST_BYTES, WANTED)
    try:
        document: Any = parse_json(content)
        check_shape(document, dict[str, Any])
        rows = [{key: value for key, value in row.items() if key in FIELDS} for row in document["found"]]
        found = msgspec.convert(rows, list[Found])
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise UserError(f"{name}: is not {WANTED} ({error})") from None
    return tuple(NdrRow(each.strategy, _cells(each), each.reason) for each in found)


FIELDS = frozenset(Found.__dataclass_fields__)


def _cells(found: Found) -> tuple[str, ...]:
    return (
        str(found.frame_bytes),
        *rate_texts(found, found.ndr_bps),
        *(latency_text(found, load, "p50_us") for load in LOADS),
        *(latency_text(found, load, "p99_us") for load in LOADS),
    )
