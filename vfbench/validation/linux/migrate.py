"""A live migration of the virtio-net guest while it answers pings: QEMU's account, and the gap that the peer sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import RunFailed
from vfbench.options import Options, experiments
from vfbench.testbeds.qemu.boot.folder import run_folder
from vfbench.testbeds.qemu.boot.initramfs import initramfs
from vfbench.testbeds.qemu.boot.monitor import Monitor
from vfbench.testbeds.qemu.boot.setup import GuestSetup
from vfbench.testbeds.qemu.parts.described import Parts
from vfbench.validation.linux.drivers import DRIVERS, PEER_MAC
from vfbench.validation.linux.echo import EchoPeer
from vfbench.validation.linux.guest import WiredGuest
from vfbench.validation.linux.measure import prepare
from vfbench.validation.tables import Row

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.validation.linux.predict import Run
    from vfbench.validation.linux.scenario import Registered

PACKETS_PER_S = 500
NO_LIMIT_BYTES_PER_S = 1 << 40
"""The stream goes as fast as the line takes it: after the stop QEMU keeps to no limit, and the model to one."""
DOWNTIME_LIMIT_MS = 30
PAUSE_S = 0.05
BEFORE_S, AFTER_S = 2.0, 1.0
LONGEST_S = 120.0
PAGE_BYTES = 4096
LEAST_PAGES = 1 << 14
CASE = "virtio-net under traffic, migrated"


@dataclass(frozen=True)
class Migrated:
    """What QEMU said, and what the peer saw. Pages and bandwidth are what the model is told of this guest and line."""

    total_ms: float
    downtime_ms: float
    gap_ms: float
    announced_ms: float | None
    """From the last answer of the old place to the first frame of the new one; None if none came."""
    pause_gap_ms: float
    """The gap of a pause of ``PAUSE_S`` without a migration: what the guest and a busy host add to any pause."""
    nonzero_pages: int
    resent_pages: int
    bandwidth_bps: int


def migrate(parts: Parts, say: Callable[[str], None], *, keep: bool = False) -> Migrated:
    """Boot a source and a destination, ping the guest, migrate it."""
    driver = DRIVERS["virtio-net"]
    with run_folder(keep=keep, say=say) as folder:
        archive = folder / "initramfs"
        archive.write_bytes(initramfs(parts, driver.modules))
        source, destination = (
            GuestSetup(
                parts,
                archive,
                folder / place,
                driver.device,
                name=place,
                extra=("-incoming", "defer") if awaits else (),
            )
            for place, awaits in (("source", False), ("target", True))
        )
        say("booting a guest with virtio-net to be migrated under traffic")
        with WiredGuest(source) as here:
            here.wait_until_booted()
            mac = prepare(here, driver)
            peer = bytes.fromhex(PEER_MAC.replace(":", ""))
            with WiredGuest(destination) as there:
                say("migrating it")
                with EchoPeer((here, there), mac, peer, PACKETS_PER_S) as echo:
                    return _migrated(here.qmp, there.qmp, echo, folder / "stream")


def _migrated(here: Monitor, there: Monitor, echo: EchoPeer, stream: Path) -> Migrated:
    time.sleep(BEFORE_S)
    pause_gap_s = _pause(here, echo)
    began = time.monotonic()
    there("migrate-incoming", uri=f"unix:{stream}")
    here("migrate-set-parameters", max_bandwidth=NO_LIMIT_BYTES_PER_S, downtime_limit=DOWNTIME_LIMIT_MS)
    here("migrate", uri=f"unix:{stream}")
    account = _account(here)
    time.sleep(AFTER_S)
    return _result(account, echo, began, pause_gap_s)


def _pause(monitor: Monitor, echo: EchoPeer) -> float:
    """Stop the guest for ``PAUSE_S`` where it is; the longest gap that the peer saw, in seconds."""
    began = time.monotonic()
    monitor("stop")
    time.sleep(PAUSE_S)
    monitor("cont")
    time.sleep(AFTER_S)
    return echo.longest_gap(began).length_s


def _account(monitor: Monitor) -> dict[str, Any]:
    """QEMU's last word on the migration; RunFailed if it failed or takes too long."""
    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        account = monitor("query-migrate")
        if account.get("status") == "completed":
            return dict(account)
        if account.get("status") in ("failed", "cancelled"):
            raise RunFailed(
                f"QEMU's migration {account['status']}: {account.get('error-desc', 'no reason given')}"
            )
        time.sleep(0.05)
    raise RunFailed(f"the migration did not end within {LONGEST_S:.0f} s")


def _result(account: dict[str, Any], echo: EchoPeer, began: float, pause_gap_s: float) -> Migrated:
    ram = account["ram"]
    gap = echo.longest_gap(began)
    arrived = echo.arrived_elsewhere[0] if echo.arrived_elsewhere else None
    last = max((at for at in echo.answers if arrived and at < arrived), default=began)
    if gap.length_s == float("inf"):
        raise RunFailed("the guest answered no ping after its migration")
    pages = ram["total"] // PAGE_BYTES
    return Migrated(
        total_ms=account["total-time"],
        downtime_ms=account["downtime"],
        gap_ms=1000 * gap.length_s,
        announced_ms=None if arrived is None else 1000 * (arrived - last),
        pause_gap_ms=1000 * pause_gap_s,
        nonzero_pages=pages - ram["duplicate"],
        resent_pages=max(1, ram["normal"] + ram["duplicate"] - pages),
        bandwidth_bps=round(ram["mbps"] * 1e6),
    )


def migration_rows(migrated: Migrated, registered: Registered, run: Run) -> Iterator[Row]:
    """Measured beside predicted. No goal where the host's speed decides, and a note on what makes the difference."""
    measures = run(_experiment(migrated, registered)).measures
    pause = f"a pause of {1000 * PAUSE_S:.0f} ms without migration is a gap of {migrated.pause_gap_ms:.0f} ms"
    downtime, gap = _float(measures["downtime_ms"]), _float(measures["service_gap_ms"])
    yield Row(
        CASE, "total time", "ms", _float(measures["total_time_ms"]), migrated.total_ms, note=_told(migrated)
    )
    yield Row(CASE, "downtime", "ms", downtime, migrated.downtime_ms)
    yield Row(CASE, "gap to the first frame of the new place", "ms", gap, migrated.announced_ms)
    yield Row(CASE, "gap in the answers", "ms", gap, migrated.gap_ms, note=pause)


def _told(migrated: Migrated) -> str:
    return (
        f"told of {migrated.bandwidth_bps / 1e6:.0f} Mb/s, {migrated.nonzero_pages} pages, "
        f"{migrated.resent_pages} of them re-sent"
    )


def _experiment(migrated: Migrated, registered: Registered) -> Experiment:
    """The same guest on the model: as much memory as held something, dirtied as fast, answering as often."""
    workload, strategy = registered.workload, registered.strategy_for("virtio", False)
    if strategy is None:
        raise RunFailed("no strategy gives the guest a virtio-net device without an IOMMU")
    dirty_rate = round(1000 * migrated.resent_pages / migrated.total_ms)
    settings = {
        "guest.memory": f"{max(LEAST_PAGES, migrated.nonzero_pages) * PAGE_BYTES}B",
        "guest.packet-memory": "4MiB",
        "driver.rx-ring": "256",
        "driver.tx-ring": "256",
        # Without a limit: what was measured is the line.
        "migration.bandwidth": f"{migrated.bandwidth_bps}bps",
        "migration.line-rate": f"{migrated.bandwidth_bps}bps",
        "migration.downtime-limit": f"{DOWNTIME_LIMIT_MS}ms",
        f"{workload}.rate": f"{PACKETS_PER_S * 84 * 8}bps",
        f"{workload}.send": "1",
        f"{workload}.dirty-rate": f"{dirty_rate}pages/s",
        f"{workload}.working-set": f"{migrated.resent_pages * PAGE_BYTES}B",
    }
    options = Options([strategy], workload, [f"{name}={value}" for name, value in settings.items()])
    return experiments(options, registered.strategies, registered.workloads)[0]


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
