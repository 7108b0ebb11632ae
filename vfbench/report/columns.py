"""The columns of the tables: what each shows, and what it means. `bench list measures` prints them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from vfbench.parameters import unknown
from vfbench.records import MEASURES, Record
from vfbench.report.load import load_of
from vfbench.report.numbers import number, percent, share, size, whole

Value = Callable[[Record], float | None]
_MEANING = {column.name: (column.unit, column.meaning) for column in MEASURES}


@dataclass(frozen=True)
class Shown:
    """A column: its title, and by its name the measure (or the sum of measures) that it shows."""

    title: str
    measure: str
    text: Callable[[float], str] = number
    timed: bool = False
    """Whether it is a time or a rate, which do not count in a functional run."""
    of: tuple[str, ...] = ()
    """The measures that are added up, if it is not `measure` itself."""
    spread: bool = False
    """Whether the repeats' spread stands beside the median."""
    says: str = ""
    """What it means, where the schema has no such measure."""
    quiet: bool = False
    """Whether the column is left out where it is 0 everywhere."""

    def value(self, record: Record) -> float | None:
        """Of one run; None where it was not measured."""
        if self.measure == "carried":
            load = load_of(record)
            return None if load is None else load.carried
        found = [record.run.get(name) for name in self.of or (self.measure,)]
        numbers = [float(each) for each in found if isinstance(each, bool | int | float)]
        return sum(numbers) if numbers else None

    @property
    def meaning(self) -> str:
        """One sentence, with the unit."""
        unit, words = _MEANING.get(self.measure, ("", self.says))
        words = words or self.says
        return f"{words} ({unit})" if unit else words


@dataclass(frozen=True)
class Subject:
    """A table of its own; `main` stands first, and alone with `--brief`."""

    title: str
    columns: tuple[Shown, ...]
    main: bool = False


SUBJECTS = (
    Subject(
        "Speed and blackout",
        (
            Shown(
                "carried",
                "carried",
                percent,
                timed=True,
                says="share of the packets offered in the steady state that was delivered in it",
            ),
            Shown("Gb/s", "gbps", timed=True, spread=True),
            Shown(
                "Gb/s\nsent",
                "tx_gbps",
                timed=True,
                spread=True,
                quiet=True,
                says="sent by the guest and received by the peer in the steady state",
            ),
            Shown("Gb/s, whole\nmigration", "gbps_migrating", timed=True, spread=True),
            Shown("latency\np50 us", "latency_p50_us", timed=True, spread=True),
            Shown("latency\np99 us", "latency_p99_us", timed=True, spread=True),
            Shown("service\ngap ms", "service_gap_ms", timed=True, spread=True),
        ),
        main=True,
    ),
    Subject(
        "Price in processor time (cycles per packet, steady state and migration)",
        (
            Shown("Mpackets/s", "mpps", timed=True),
            Shown("guest", "guest_cycles_per_packet", timed=True),
            Shown("host", "host_cycles_per_packet", timed=True),
            Shown("guest,\nmigrating", "guest_cycles_per_packet_migrating", timed=True),
            Shown("host,\nmigrating", "host_cycles_per_packet_migrating", timed=True),
        ),
    ),
    Subject(
        "Migration",
        (
            Shown("converged", "converged", share),
            Shown("rounds", "rounds", whole),
            Shown("dirty\npages/s", "dirty_pages_per_s", timed=True),
            Shown("sent", "sent_bytes", size),
            Shown("re-sent", "resent_bytes", size),
            Shown("pages left\nfor the stop", "residual_pages", whole),
            Shown("total\nms", "total_time_ms", timed=True),
            Shown("downtime\nms", "downtime_ms", timed=True),
        ),
    ),
    Subject(
        "Downtime in ms",
        (
            Shown("quiesce", "quiesce_ms", timed=True),
            Shown("final\nsync", "final_sync_ms", timed=True),
            Shown("final\ncopy", "final_copy_ms", timed=True),
            Shown("emu-\nlator", "emulator_ms", timed=True),
            Shown("VF\nstate", "state_transfer_ms", timed=True),
            Shown("maps", "remap_ms", timed=True),
            Shown("restore", "restore_ms", timed=True),
            Shown("announce", "announce_ms", timed=True),
            Shown("in all", "downtime_ms", timed=True),
            Shown("vCPU\npause", "vcpu_pause_ms", timed=True),
        ),
    ),
    Subject(
        "Packets lost, by cause",
        (
            Shown("offered", "packets_offered", whole),
            Shown("delivered", "packets_delivered", whole),
            Shown("lost", "packets_lost", whole),
            Shown(
                "overload",
                "lost_overload",
                whole,
                of=("packets_lost_fifo", "packets_lost_descriptor", "packets_lost_socket"),
                says="of the packets lost, no descriptor, no room in the device's FIFO, before vhost or in the socket",
            ),
            Shown("blackout", "packets_lost_blackout", whole),
            Shown("reset", "packets_lost_reset", whole),
            Shown("DMA", "packets_lost_dma", whole, quiet=True),
            Shown("ring", "packets_lost_ring", whole, quiet=True),
            Shown(
                "refused",
                "packets_refused",
                whole,
                quiet=True,
                says="packets that the guest wanted to send and its queue did not take",
            ),
            Shown("sent, lost", "packets_sent_lost", whole, quiet=True),
        ),
    ),
    Subject(
        "Damage (the worst run)",
        (
            Shown("stale\npayload", "stale_pages_payload", whole),
            Shown("stale\ndescriptor", "stale_pages_descriptor", whole),
            Shown("stale\nother", "stale_pages_other", whole),
            Shown("pages\ncompared", "pages_compared", whole),
            Shown("corrupted", "packets_corrupted", whole),
            Shown("phantom", "packets_phantom", whole),
            Shown("twice", "packets_duplicated", whole),
            Shown("sent\ncorrupted", "packets_sent_corrupted", whole, quiet=True),
            Shown("DMA\nfaults", "dma_faults", whole, quiet=True),
        ),
    ),
)

BY_NAME: dict[str, Shown] = {
    column.measure: column for subject in reversed(SUBJECTS) for column in subject.columns
}


def chosen(texts: Iterable[str]) -> tuple[Shown, ...]:
    """The columns of `a,b` and so on, each once; any measure of a record will do. UserError for an unknown one."""
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    return tuple(_column(name) for name in dict.fromkeys(names))


def every_column() -> list[Shown]:
    """Those that tables show, then every other measure of a record."""
    others = [column.name for column in MEASURES if column.name not in BY_NAME]
    return [*BY_NAME.values(), *(_column(name) for name in others)]


def measure_lines(width: int, name: str | None = None) -> Iterable[str]:
    """What each measure means, or the one called `name`, for `bench list measures`."""
    shown = [each for each in every_column() if name in (None, each.measure)]
    column = max(len(each.measure) for each in shown) + 2
    if column > width // 2:
        for each in shown:
            yield each.measure
            yield from textwrap.wrap(each.meaning, width, initial_indent="    ", subsequent_indent="    ")
        return
    for each in shown:
        yield from textwrap.wrap(
            each.meaning,
            width,
            initial_indent=each.measure.ljust(column),
            subsequent_indent=" " * column,
            break_on_hyphens=False,
        )


def _column(name: str) -> Shown:
    wanted = name.replace("-", "_")
    if wanted in BY_NAME:
        return BY_NAME[wanted]
    if wanted not in _MEANING:
        raise unknown("--columns: no measure is called", name, [*BY_NAME, *_MEANING])
    unit, _ = _MEANING[wanted]
    words = wanted.removesuffix("_ms").removesuffix("_us").removesuffix("_bytes").split("_")
    title = _two_lines([*words, *([unit] if unit in ("ms", "us") else [])])
    kinds = {column.name: column.type for column in MEASURES}
    text: Callable[[float], str] = number
    if unit == "bytes":
        text = size
    elif kinds[wanted] == "bool":
        text = share
    elif kinds[wanted] == "int64":
        text = whole
    return Shown(title, wanted, text, timed=kinds[wanted] == "float64")


def _two_lines(words: Sequence[str]) -> str:
    middle = (len(words) + 1) // 2
    return " ".join(words[:middle]) + ("\n" + " ".join(words[middle:]) if words[middle:] else "")
