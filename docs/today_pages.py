"""Writes catalogue.md, today.md, hybrid.md and README's table of strategies: `python docs/today_pages.py`.

They are made from the strategies and results/today.

A test sees to it that the pages are what this makes of them. `make today` runs the sweep anew, and this.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from strategies import ALL_STRATEGIES
from vfbench.advice.ways import demands_of
from vfbench.demands import DEMANDS, Demand
from vfbench.files import write_file
from vfbench.parameters import parameters_of
from vfbench.plugins import load_strategies
from vfbench.profiles import load_profile
from vfbench.profiles.machine import CAPABILITIES, Need
from vfbench.records import Record, read_records
from vfbench.records.damage import verdict_of
from vfbench.report.against_baseline import NEGLIGIBLE
from vfbench.report.as_one import as_one
from vfbench.report.two_sets import side_by_side
from vfbench.strategy import Strategy, faults_of

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BLOCK = re.compile(r"(<!-- today -->\n).*?(<!-- end of today -->)", re.DOTALL)
RECORDS = DOCS.parent / "results" / "today"
PROFILE = "modern-100g"
MIB = 1 << 20
PLACES = {"guest": "guest-", "host": "host-"}
CARD = (
    *("device_dirty_log", "device_page_faults", "readable_rings", "register_state", "vf_state"),
    *("vf_state_precopy", "p2p", "vdpa", "vfs_per_guest"),
)
IOMMU = ("iommu_dirty_bits", "nested_translation")
PARTS = {
    "dummy-write": "the driver's dummy writes, always on",
    "fenced-dummy-write": "dummy writes and the fence",
    "emulated-iommu": "posted buffers that wait for the stop, as an IOMMU that the guest sees has it",
}
ASKED = {"downtime_ms": "blackout", "resent_bytes": "re-sent", "cycles_per_packet": "steady cost"}


def strategies() -> list[Strategy]:
    """All of them, with their defaults."""
    return [each() for each in load_strategies(ALL_STRATEGIES).values() if each in ALL_STRATEGIES]


# -- what a strategy says of itself


def paragraphs(strategy: Strategy) -> tuple[str, str]:
    """Its paragraph and its source: the docstring of its file."""
    text = inspect.getdoc(sys.modules[type(strategy).__module__]) or ""
    parts = [" ".join(each.split()) for each in text.split("\n\n")][1:]
    source = [each.partition(": ")[2] for each in parts if each.startswith("Source")]
    return " ".join(each for each in parts if not each.startswith("Source")), " ".join(source) or "none"


def capability(need: Need) -> tuple[str, str]:
    """A need's name, and what it is in words, with a mark where the machine of today has it only in thought."""
    name, least = need if isinstance(need, tuple) else (need, 1)
    what = f"{least} {CAPABILITIES[name].what}" if least > 1 else CAPABILITIES[name].what
    there = load_profile(PROFILE).machine[name].has if name in load_profile(PROFILE).machine else None
    return name, f"{what} (hypothetical)" if there == "hypothetical" else what


def demanded(strategy: Strategy) -> dict[str, str]:
    """What it asks of guest, host, card and IOMMU; the host's hypervisor is the host."""
    words = demands_of(strategy)
    needs = dict(capability(need) for each in strategy.mechanisms for need in each.needs)
    found = {
        place: [_what(DEMANDS[word]) for word in words if DEMANDS[word].change.startswith(begin)]
        for place, begin in PLACES.items()
    }
    found["host"] += [what for name, what in needs.items() if name not in (*CARD, *IOMMU)]
    found["card"] = [what for name, what in needs.items() if name in CARD]
    found["IOMMU"] = [what for name, what in needs.items() if name in IOMMU]
    return {place: "; ".join(each) or "nothing" for place, each in found.items()}


def _what(demand: Demand) -> str:
    """A demand in words, with a mark where no Linux or QEMU has it as it comes."""
    return demand.what if demand.stock else f"{demand.what} (not merged)"


def possible_faults(kind: type[Strategy]) -> list[int]:
    """The faults that its parameters can switch on: by each value of one, and of two together."""
    values = {
        each.field: each.choices or (True, False)
        for each in parameters_of(kind)
        if each.choices or isinstance(each.default, bool)
    }
    settings: list[dict[str, Any]] = [{name: value} for name, each in values.items() for value in each]
    for one, other in itertools.combinations(values, 2):
        settings += [{one: a, other: b} for a, b in itertools.product(values[one], values[other])]
    numbers = {"fails_at": 100} if "fails_at" in {each.field for each in parameters_of(kind)} else {}
    return sorted({fault for each in settings for fault in faults_of(kind(**{**numbers, **each}))})


def fault_names() -> dict[int, str]:
    """From the page of faults."""
    rows = re.findall(r"^\| (\d+) (.*?) \|", (DOCS / "faults.md").read_text(encoding="utf-8"), re.MULTILINE)
    return {int(number): name for number, name in rows}


# -- what was measured


def of(records: Sequence[Record], strategy: str) -> list[Record]:
    """The runs of a strategy."""
    return [each for each in records if each.run["strategy"] == strategy]


def middle(records: Sequence[Record], *measures: str) -> float | None:
    """The median over all workloads of the sum of some measures; None where a run has none."""
    sums = [[each.run[name] for name in measures] for each in records]
    values = [sum(float(v) for v in each if v is not None) for each in sums if None not in each]
    return median(values) if values else None


def text(value: float | None, unit: str, digits: int = 3) -> str:
    """A figure for a table."""
    return "-" if value is None else f"{float(f'{value:.{digits}g}'):,g} {unit}".strip()


def lost(records: Sequence[Record]) -> str:
    """Packets lost in both directions, as time at the rate offered: the median run."""
    share = [
        float(each.run["packets_lost"]) / float(each.run["mpps"]) / 1000
        for each in records
        if each.run["mpps"]
    ]
    return text(median(share), "ms") if share else "-"


def integrity(records: Sequence[Record]) -> str:
    """Whole in all runs, or in how many it was damaged; `-` where none was compared."""
    verdicts = [verdict_of(each.run) for each in records]
    damaged = verdicts.count("DAMAGED")
    if damaged:
        return f"**yes**: {damaged} of {len(verdicts)} runs"
    ended = sum(each.run["state"] == "ok" for each in records)
    return "no" if ended else "never arrived"


def figures(records: Sequence[Record]) -> dict[str, str]:
    """What the pages say of a strategy's runs."""
    resent = middle(records, "resent_bytes")
    return {
        "steady": text(middle(records, "guest_cycles_per_packet", "host_cycles_per_packet"), "cycles"),
        "migrating": text(
            middle(records, "guest_cycles_per_packet_migrating", "host_cycles_per_packet_migrating"), "cycles"
        ),
        "blackout": text(middle(records, "downtime_ms"), "ms"),
        "gap": text(middle(records, "service_gap_ms"), "ms"),
        "resent": text(None if resent is None else resent / MIB, "MiB"),
        "lost": lost(records),
    }


# -- the pages

MADE = "Made by `python docs/today_pages.py` from the strategies and the records in `results/today`"


def catalogue(records: Sequence[Record]) -> str:
    """A paragraph, what it asks, what it costs and can lose, its source: for each."""
    names = fault_names()
    lines = [
        "# The strategies",
        "",
        f"{MADE} (`sweeps/today.toml`:",
        f"profile {PROFILE}, all workloads at 1 Gb/s, medians over them). Costs are cycles of guest and host together",
        "for each packet delivered; the blackout is what the hypervisor calls downtime, the gap what the peer saw.",
        "Faults are in [faults.md](faults.md); what a machine of today has only in thought is called hypothetical.",
    ]
    for strategy in strategies():
        paragraph, source = paragraphs(strategy)
        own, asks = figures(of(records, strategy.name)), demanded(strategy)
        faults = [f"{names[number]} ({number})" for number in possible_faults(type(strategy))]
        lines += ["", f"## {strategy.name}", "", paragraph, ""]
        lines += [f"- asks of the {place}: {what}" for place, what in asks.items()]
        lines += [
            f"- costs {own['steady']} a packet before a migration, {own['migrating']} during it",
            f"- blackout {own['blackout']}, the peer's longest gap {own['gap']}, {own['resent']} sent again",
            f"- loses {own['lost']} of packets; can corrupt: {integrity(of(records, strategy.name))}",
            f"- faults that can be switched on: {'; '.join(faults) or 'none'}",
            f"- source: {source}",
        ]
    return "\n".join(lines) + "\n"


def today(records: Sequence[Record]) -> str:
    """The table of all strategies."""
    lines = [
        "# Which of them today",
        "",
        f"{MADE}:",
        f"`make today`, profile {PROFILE}, medians over all workloads at 1 Gb/s, pages reused or not. What is",
        "in the columns says [catalogue.md](catalogue.md), and every figure is of the model.",
        "",
        "| strategy | steady cost | blackout | longest gap | re-sent | can it corrupt | needs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for strategy in strategies():
        own, asks = figures(of(records, strategy.name)), demanded(strategy)
        needs = "; ".join(what for what in asks.values() if what != "nothing") or "nothing"
        cells = (own["steady"], own["blackout"], own["gap"], own["resent"])
        lines.append(
            f"| `{strategy.name}` | {' | '.join(cells)} | {integrity(of(records, strategy.name))} | {needs} |"
        )
    return "\n".join(lines) + "\n"


SHORT = {
    "host-driver": "PF driver",
    "guest-driver": "VF driver",
    "guest-dma-api": "guest's DMA API",
    "guest-shared-table": "guest kernel",
    "guest-swiotlb": "swiotlb=force",
    "guest-iommu": "vIOMMU",
    "guest-virtio": "virtio-net",
    "guest-standby": "virtio-net standby",
    "host-qemu": "QEMU",
    "host-kernel": "host kernel",
    "host-forced": "enable-migration=on",
    "host-core": "a host core",
    "vdpa": "vDPA device",
    "vf_state": "variant driver",
    "vf_state_precopy": "PRE_COPY",
    "device_dirty_log": "log in the device",
    "iommu_dirty_bits": "IOMMU dirty bits",
    "readable_rings": "readable rings",
    "post_copy": "post-copy",
    "post_copy_vf": "post-copy with a VF",
    "failover": "net_failover",
}
"""What a strategy needs, in README's few words: demands and capabilities by their names."""


def needed(strategy: Strategy) -> str:
    """What it needs in a few words; a star marks what no Linux or QEMU has, or the machine of today only in thought."""
    words = [SHORT[word] + "*" * (not DEMANDS[word].stock) for word in demands_of(strategy)]
    for need in dict.fromkeys(need for each in strategy.mechanisms for need in each.needs):
        name, what = capability(need)
        if name in SHORT:
            words.append(SHORT[name] + "*" * what.endswith("(hypothetical)"))
    return ", ".join(words) or "nothing"


def short_table(records: Sequence[Record]) -> str:
    """README's table: strategy, steady cost, blackout, re-sent, can it corrupt, needs."""
    lines = [
        "| strategy | cycles a packet | blackout | re-sent | can it corrupt | needs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for strategy in strategies():
        runs = of(records, strategy.name)
        own = figures(runs)
        cells = (own["steady"].removesuffix(" cycles"), own["blackout"], own["resent"], integrity(runs))
        lines.append(f"| {strategy.name} | {' | '.join(cells)} | {needed(strategy)} |")
    return "\n".join(lines) + "\n"


def readme(page: str, records: Sequence[Record]) -> str:
    """README with its table written anew; ValueError unless it has exactly one."""
    if len(BLOCK.findall(page)) != 1:
        raise ValueError("README.md has no table of strategies, or several")
    return BLOCK.sub(lambda found: found[1] + short_table(records) + found[2], page)


def share(worse_by: float | None) -> str:
    """B's distance from A, less is better: `-39 %`, `same`."""
    if worse_by is None:
        return "more than nothing"
    return "same" if abs(worse_by) <= NEGLIGIBLE else f"{worse_by:+.0%}".replace("%", " %")


def held_against(records: Sequence[Record], other: str) -> list[tuple[str, dict[str, float | None]]]:
    """The hybrid against another strategy by `bench compare`: by work, each measure's share; positive is worse."""
    found = side_by_side(*as_one(records, records, f"{other}=hybrid"))
    rows = []
    for pair in found.pairs:
        changes = {each.measure: each for each in pair.changes}
        shares = {name: changes[name].worse_by for name in ("downtime_ms", "resent_bytes") if name in changes}
        cycles = [changes[f"{side}_cycles_per_packet"] for side in ("guest", "host")]
        before, after = (sum(getattr(c, side) or 0.0 for c in cycles) for side in ("before", "after"))
        shares["cycles_per_packet"] = (after - before) / before if before else None
        rows.append((pair.label.partition(f"against {other} ")[2] or pair.label, shares))
    return rows


def beats(shares: dict[str, float | None]) -> str:
    """In words, whether all three are better, or what is not."""
    worse = [
        ASKED[name]
        for name in ASKED
        if (shares.get(name) or 0.0) > NEGLIGIBLE or shares.get(name, 0.0) is None
    ]
    same = [
        ASKED[name]
        for name in ASKED
        if abs(shares.get(name) or 0.0) <= NEGLIGIBLE and ASKED[name] not in worse
    ]
    if worse:
        return f"no: more {' and '.join(worse)}"
    return f"as good in {' and '.join(same)}, better in the rest" if same else "yes, in all three"


def hybrid(records: Sequence[Record]) -> str:
    """The hybrid's page: why it should win, against its parts, against all, and what it needs."""
    own = next(each for each in strategies() if each.name == "hybrid")
    asks = demanded(own)
    lines = [*HYBRID_HEAD, "", *_verdict(records), ""]
    for part, what in PARTS.items():
        lines += [f"## Against `{part}`: {what}", "", *_against(held_against(records, part)), ""]
    lines += [*_against_all(records), "", "## What it asks", ""]
    lines += [f"- of the {place}: {what}" for place, what in asks.items()]
    lines += ["", *HYBRID_END]
    return "\n".join(lines) + "\n"


HYBRID_HEAD = (
    "# The hybrid",
    "",
    f"{MADE}. Each table is",
    "`bench compare results/today results/today --strategies PART=hybrid`, the share by which the hybrid lies above",
    "(+) or below (-) its part; less is better everywhere.",
    "",
    "Why it should win: each part has one price, and another part takes it away. Dummy writes know exactly what",
    "was written, without hardware, and cost the driver something with every packet: so they are armed by the",
    "migration and silent before it. They send pages again that are rewritten in a loop: so posted buffers wait for",
    "the stop, as an emulated IOMMU lets them, without its exits. What waits lengthens the stop: so rounds go on while",
    "each leaves much less than the one before. And half-written packets at the stop are the fence's.",
)
HYBRID_END = (
    "Its price is not in the tables: a driver in the guest that is changed in four places, and a QEMU that reads a",
    "list which the guest shows it. Neither exists. Who may not change the guest has",
    "`device-dirty-log` or `vfio-migration`.",
)


def _against(rows: Iterable[tuple[str, dict[str, float | None]]]) -> list[str]:
    lines = [
        "| work | blackout | re-sent | steady cost | beats it in all three |",
        "| --- | --- | --- | --- | --- |",
    ]
    for label, shares in rows:
        cells = [share(shares[name]) if name in shares else "-" for name in ASKED]
        lines.append(f"| {label} | {' | '.join(cells)} | {beats(shares)} |")
    return lines


def _verdict(records: Sequence[Record]) -> list[str]:
    """Whether it beats its parts, and all, in words that the numbers choose."""
    shares = {name: [each for _, each in held_against(records, name)] for name in _others(records)}
    never_worse = [n for n, each in shares.items() if not any(beats(one).startswith("no") for one in each)]
    beaten = [n for n in never_worse if any(beats(one).startswith("yes") for one in shares[n])]
    rest = [name for name in shares if name not in never_worse]
    parts = [name for name in PARTS if name in never_worse]
    whole = "each of its parts" if len(parts) == len(PARTS) else f"{len(parts)} of its {len(PARTS)} parts"
    return [
        f"Whether it does: under every work it is no worse in any of the three than {whole}"
        f" ({', '.join(f'`{name}`' for name in parts) or 'none'}),",
        f"and of all strategies than {', '.join(f'`{name}`' for name in never_worse) or 'none'}. Better in all three"
        f" at once, under some work, of these: {', '.join(f'`{name}`' for name in beaten) or 'none'}.",
        *(
            (
                "So it does **not** beat each of them in blackout, re-sent bytes and steady cost at once: under some",
                f"work it loses in one of them to {', '.join(f'`{name}`' for name in rest)}.",
            )
            if rest
            else ("So it is no worse than any in any of the three.",)
        ),
    ]


def _others(records: Sequence[Record]) -> list[str]:
    """The strategies that the hybrid can be held against: those of which a migration completed."""
    ended = {str(each.run["strategy"]) for each in records if each.run["state"] == "ok"}
    return [each.name for each in strategies() if each.name in ended - {"hybrid"}]


def _against_all(records: Sequence[Record]) -> list[str]:
    lines = [
        "## Against all",
        "",
        "In how many works the hybrid is better than, as good as (within 0.5 %) and worse than each.",
        "",
        "| strategy | blackout | re-sent | steady cost | no worse in all three |",
        "| --- | --- | --- | --- | --- |",
    ]
    for other in _others(records):
        rows = [shares for _, shares in held_against(records, other)]
        cells = []
        for name in ASKED:
            known = [shares[name] for shares in rows if name in shares]
            worse = sum(value is None or value > NEGLIGIBLE for value in known)
            better = sum(value is not None and value < -NEGLIGIBLE for value in known)
            cells.append(f"{better} better, {len(known) - worse - better} same, {worse} worse")
        whole = sum(not beats(shares).startswith("no") for shares in rows)
        lines.append(f"| `{other}` | {' | '.join(cells)} | {whole} of {len(rows)} |")
    return lines


def pages() -> dict[str, str]:
    """Every page by the name of its file."""
    records = read_records(RECORDS)
    return {"catalogue.md": catalogue(records), "today.md": today(records), "hybrid.md": hybrid(records)}


if __name__ == "__main__":
    for name, page in pages().items():
        write_file(DOCS / name, page, replace=True)
    page = readme(README.read_text(encoding="utf-8"), read_records(RECORDS))
    write_file(README, page, replace=True)
