"""`bench validate qemu`: every case measured and predicted, as a table."""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from vfbench.records.environment import environment
from vfbench.testbeds.qemu.parts.described import Qemu
from vfbench.validation.qemu.account import Case, Host
from vfbench.validation.qemu.cases import cases, program
from vfbench.validation.qemu.machine import find_qemu
from vfbench.validation.qemu.measurement import Measured, measure, measure_host, release, typical
from vfbench.validation.qemu.prediction import predict
from vfbench.validation.tables import Row, ValidationTable

SOURCE = "query-migrate"
CASES_PER_LOOK = 3
"""After so many cases the host is re-measured."""
LEFT_OUT = (
    "The state of QEMU's devices, some tens of kilobytes and a millisecond or two of downtime; QEMU counts whole ones.",
    "The time that QEMU takes to look through a page of zeros, and to sync the dirty log of a guest this small.",
    "What a throttle does to the guest: this one makes up for the ticks that it slept through, as long as it can. What "
    "is compared is the rule, by the throttle that it came to.",
    "A host that wakes QEMU later than it did in the idle guest's migration: with a dirty rate close to the "
    "bandwidth, a window that is 1 % longer may cost another round.",
)


def compare(
    qemu: str, progress: Callable[[str], None], chosen: Sequence[Case] | None = None
) -> ValidationTable:
    """Measure and predict all cases (or the chosen ones); UserError without QEMU, RunFailed if it fails."""
    found = find_qemu(qemu)
    wanted = cases() if chosen is None else chosen
    todo = [case for case in wanted if release(found.release) >= case.least_release]
    with tempfile.TemporaryDirectory(prefix="vfbench-qemu-") as folder:
        host, measured = asyncio.run(_measure_all(found, todo, Path(folder), progress))
    rows = [row for case, each in zip(todo, measured, strict=True) for row in compared(case, each, host)]
    return ValidationTable(
        name="qemu",
        title="Pre-copy of a real QEMU",
        observed_as="measured",
        rows=tuple(rows),
        circumstances=_circumstances(found, host),
        left_out=LEFT_OUT,
    )


def compared(case: Case, measured: Measured, host: Host) -> Iterable[Row]:
    """The rows of one case."""
    observed = measured.account
    # When a migration is cancelled is the suite's doing: the model's is cancelled at the very same time.
    cancelled_ms = case.limit_ms if observed.converged else observed.total_ms
    predicted = predict(case, measured.stores, host, cancelled_ms)
    note = f"{measured.stores.per_s:.0f} stores per second; waited for a CPU {100 * measured.waited:.1f} % of the time"
    yield Row(
        case.name, "converged", "", predicted.converged, observed.converged, "same", source=SOURCE, note=note
    )
    yield Row(
        case.name, "syncs of the dirty log", "", predicted.syncs, observed.syncs, "absolute", 1, source=SOURCE
    )
    if case.auto_converge:
        yield Row(
            case.name,
            "last throttle of the vCPUs",
            "%",
            predicted.throttle_percent,
            observed.throttle_percent,
            "absolute",
            10,
            source=SOURCE,
        )
    yield _close(case, "sent", "MB", predicted.sent_bytes / 1e6, observed.sent_bytes / 1e6)
    if predicted.converged and observed.converged:
        yield _close(case, "total time", "ms", predicted.total_ms, observed.total_ms)
        yield Row(case.name, "downtime", "ms", predicted.downtime_ms, observed.downtime_ms, source=SOURCE)


def _close(case: Case, measure: str, unit: str, predicted: float, observed: float) -> Row:
    return Row(case.name, measure, unit, predicted, observed, "relative", 0.1, source=SOURCE)


async def _measure_all(
    qemu: Qemu, todo: Sequence[Case], folder: Path, progress: Callable[[str], None]
) -> tuple[Host, list[Measured]]:
    idle, busy = program("sequential", 2, 0), program("sequential", 4096, 20_000)
    channels = sorted({case.channels for case in todo if case.channels})
    hosts, measured = [], []
    for number, case in enumerate(todo):
        if number % CASES_PER_LOOK == 0:
            progress("an idle guest and a busy one: speed of the line, lateness of a window")
            hosts.append(await measure_host(qemu, idle, busy, folder, channels))
        progress(f"{number + 1} of {len(todo)}: {case.name}")
        measured.append(await measure(qemu, case, folder))
    return typical(hosts), measured


def _circumstances(qemu: Qemu, host: Host) -> dict[str, str]:
    here = environment()
    return {
        "QEMU": f"{qemu.release}, TCG, two processes over loopback",
        "host": f"{here['cpu']}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "source hash": str(here["source_hash"]),
        "speed of the line": f"{host.line_bytes_per_s / 1e6:.0f} MB/s (idle guest, no limit), "
        f"{host.stopped_bytes_per_s / 1e6:.0f} MB/s after the stop (busy guest)",
        "lateness of a window": f"{host.window_late_ms:.2f} ms beyond 100 ms (idle guest, limited)",
        "pages in the RAM": f"{host.pages}, of which {host.nonzero_pages} hold something",
        "command": "bench validate qemu",
    }
