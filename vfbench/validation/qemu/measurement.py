"""A case carried out by two QEMU processes over loopback, and QEMU's own account of it (query-migrate)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vfbench.errors import RunFailed
from vfbench.machine.memory import PAGE_BYTES
from vfbench.migration.precopy import WINDOW_PS
from vfbench.validation.qemu.account import Account, Case, Host
from vfbench.validation.qemu.guest import Program, boot_sector
from vfbench.validation.qemu.machine import Machine, started

MEMORY_BYTES: Final = 64 << 20
WINDOW_MS: Final = WINDOW_PS / 10**9
_UNLIMITED: Final = 1 << 40
_LIMITED: Final = 32 << 20
_ATTEMPTS: Final = 4
_DISTURBED: Final = 0.03
_PATIENCE_MS: Final = 60_000
_BEFORE_S: Final = 0.3
_POLL_S: Final = 0.05
_FLOPPY_BYTES: Final = 1_474_560


@dataclass(frozen=True)
class Measured:
    """QEMU's account of a case.

    `dirty_rate` is what the guest really had, in stores to pages per second; `waited` the share of the time for
    which QEMU wanted a CPU and other processes of the host had it.
    """

    account: Account
    dirty_rate: float
    waited: float


@dataclass(frozen=True)
class _Run:
    """QEMU's last word on a migration, and what was seen meanwhile."""

    info: dict[str, Any]
    dirty_rate: float
    waited: float


async def measure(binary: str, case: Case, folder: Path) -> Measured:
    """Boot the guest, migrate it, and read the account; RunFailed if QEMU fails.

    On a busy host, again: what counts is the run for which QEMU waited least, whatever came of it.
    """
    run = await _undisturbed(binary, case, folder)
    return Measured(_account(run.info), run.dirty_rate, run.waited)


async def measure_host(binary: str, idle: Program, folder: Path) -> Host:
    """An idle guest migrated without a limit, then with one."""
    free = await _undisturbed(binary, Case("idle", idle, _UNLIMITED, 1, _PATIENCE_MS), folder)
    limited = await _undisturbed(binary, Case("idle", idle, _LIMITED, 1, _PATIENCE_MS), folder)
    ram = limited.info["ram"]
    return Host(
        line_bytes_per_s=free.info["ram"]["transferred"] * 1000 / free.info["total-time"],
        window_late_ms=_window_late_ms(limited.info),
        pages=ram["total"] // PAGE_BYTES,
        nonzero_pages=ram["normal"],
    )


def _window_late_ms(limited: dict[str, Any]) -> float:
    """How much longer than 100 ms a window lasted: the time not accounted for by whole windows, over these."""
    windows = int(limited["ram"]["transferred"] * 10 / _LIMITED)
    spent_ms = limited["total-time"] - limited["setup-time"] - limited["downtime"]
    return max(0.0, spent_ms / windows - WINDOW_MS)


async def _undisturbed(binary: str, case: Case, folder: Path) -> _Run:
    runs: list[_Run] = []
    while len(runs) < _ATTEMPTS and (not runs or runs[-1].waited > _DISTURBED):
        runs.append(await _carry_out(binary, case, folder))
    return min(runs, key=lambda run: run.waited)


async def _carry_out(binary: str, case: Case, folder: Path) -> _Run:
    boot = folder / "boot.img"
    boot.write_bytes(boot_sector(case.program).ljust(_FLOPPY_BYTES, b"\0"))
    async with (
        started(binary, folder, "source", boot, MEMORY_BYTES) as source,
        started(binary, folder, "destination", boot, MEMORY_BYTES, incoming=True) as destination,
    ):
        await source.until_ready()
        port = await _listen(destination)
        began, waited_s = time.monotonic(), source.waited_s() + destination.waited_s()
        info, dirty_rate = await _migrate(source, port, case)
        waited_s = source.waited_s() + destination.waited_s() - waited_s
        return _Run(info, dirty_rate, waited_s / (time.monotonic() - began))


async def _listen(destination: Machine) -> str:
    """The port that the destination waits at; the kernel chooses a free one."""
    await destination.ask("migrate-incoming", uri="tcp:127.0.0.1:0")
    for _ in range(100):
        addresses = (await destination.ask("query-migrate")).get("socket-address")
        if addresses:
            return str(addresses[0]["port"])
        await asyncio.sleep(0.05)
    raise RunFailed("the destination QEMU names no port")


async def _migrate(source: Machine, port: str, case: Case) -> tuple[dict[str, Any], float]:
    await source.ask(
        "migrate-set-parameters",
        **{"max-bandwidth": case.bandwidth_bytes_per_s, "downtime-limit": case.downtime_limit_ms},
    )
    began, first = await _stores(source)
    await asyncio.sleep(_BEFORE_S)
    await source.ask("migrate", uri=f"tcp:127.0.0.1:{port}")
    now, stores = await _stores(source)
    while True:
        info = await source.ask("query-migrate")
        status = info.get("status")
        if status == "failed":
            raise RunFailed(f"QEMU: the migration failed: {info.get('error-desc', 'no reason given')}")
        if status in ("completed", "cancelled"):
            return info, (stores - first) / (now - began)
        if status == "active" and info["total-time"] >= case.limit_ms:
            await source.ask("migrate_cancel")
            return info, (stores - first) / (now - began)
        await asyncio.sleep(_POLL_S)
        looked, seen = await _stores(source)
        # A stopped guest makes no stores: only what was read while it ran tells its rate.
        if (await source.ask("query-status"))["running"]:
            now, stores = looked, seen


async def _stores(source: Machine) -> tuple[float, int]:
    """The time in seconds, and how many stores the guest had made by then."""
    before = time.monotonic()
    stores = await source.stores()
    return (before + time.monotonic()) / 2, stores


def _account(info: dict[str, Any]) -> Account:
    ram = info["ram"]
    return Account(
        converged=info["status"] == "completed",
        syncs=ram["dirty-sync-count"],
        sent_bytes=ram["transferred"],
        total_ms=float(info["total-time"]),
        downtime_ms=float(info["downtime"]) if info["status"] == "completed" else None,
    )
