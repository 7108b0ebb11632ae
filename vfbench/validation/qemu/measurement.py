"""A case carried out by two QEMU processes over loopback, and QEMU's own account of it (query-migrate)."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vfbench.errors import RunFailed
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.migration.precopy import WINDOW_PS
from vfbench.testbeds.qemu.channels import capabilities, channel_parameters
from vfbench.testbeds.qemu.parts.described import Qemu
from vfbench.validation.qemu.account import HEADER_BYTES, Account, Case, Host, Stores
from vfbench.validation.qemu.guest import Program, boot_sector
from vfbench.validation.qemu.machine import Machine, started, stolen_s

MEMORY_BYTES: Final = 64 << 20
WINDOW_MS: Final = WINDOW_PS / 10**9
_UNLIMITED: Final = 1 << 40
_LIMITED: Final = 32 << 20
_BUSY: Final = 64 << 20
_ATTEMPTS: Final = 4
_DISTURBED: Final = 0.1
_PATIENCE_MS: Final = 60_000
_BEFORE_S: Final = 0.3
_POLL_S: Final = 0.05
_FLOPPY_BYTES: Final = 1_474_560


@dataclass(frozen=True)
class Measured:
    """QEMU's account of a case.

    `waited` is the share of the time for which QEMU wanted a CPU and others had it: other processes of the host, or,
    where the host is a virtual machine itself, its neighbours.
    """

    account: Account
    stores: Stores
    waited: float


@dataclass(frozen=True)
class _Run:
    """QEMU's last word on a migration, and what was seen meanwhile."""

    info: dict[str, Any]
    stores: Stores
    waited: float


async def measure(qemu: Qemu, case: Case, folder: Path) -> Measured:
    """Boot the guest, migrate it, and read the account; RunFailed if QEMU fails.

    On a busy host, again: what counts is the run for which QEMU waited least, whatever came of it.
    """
    run = await _undisturbed(qemu, case, folder)
    account = dataclasses.replace(
        _account(run.info),
        throttle_percent=run.info["cpu-throttle-percentage"] if case.auto_converge else None,
    )
    return Measured(account, run.stores, run.waited)


async def measure_host(
    qemu: Qemu, idle: Program, busy: Program, folder: Path, channels: Iterable[int] = ()
) -> Host:
    """An idle guest migrated without a limit, with one, and so over each number of channels, and a busy guest.

    The busy guest's working set has to fit its downtime limit, and be written so often that the last copy sends it.
    """
    step_pages = buffer_pages(qemu.release)
    step_bytes = step_pages * (PAGE_BYTES + HEADER_BYTES)
    share_bytes = math.ceil(_LIMITED / 10 / step_bytes) * step_bytes
    free = (await _undisturbed(qemu, Case("idle", idle, _UNLIMITED, 1, _PATIENCE_MS), folder)).info
    limited = (await _undisturbed(qemu, Case("idle", idle, _LIMITED, 1, _PATIENCE_MS), folder)).info
    last = (await _undisturbed(qemu, Case("busy", busy, _BUSY, 300, _PATIENCE_MS), folder)).info
    late_ms = _window_late_ms(limited, share_bytes)
    ahead_bytes = {}
    for number in channels:
        case = Case("idle", idle, _LIMITED, 1, _PATIENCE_MS, channels=number)
        ahead_bytes[number] = _ahead_bytes((await _undisturbed(qemu, case, folder)).info, late_ms)
    return Host(
        line_bytes_per_s=free["ram"]["transferred"] * 1000 / free["total-time"],
        stopped_bytes_per_s=_downtime_bytes(last) * 1000 / max(1, last["downtime"] - limited["downtime"]),
        window_late_ms=late_ms,
        pages=limited["ram"]["total"] // PAGE_BYTES,
        nonzero_pages=limited["ram"]["normal"],
        buffer_pages=step_pages,
        channels_ahead_bytes=ahead_bytes,
    )


def _downtime_bytes(info: dict[str, Any]) -> int:
    try:
        return int(info["ram"]["downtime-bytes"])
    except KeyError:
        raise RunFailed(
            "QEMU does not tell what it sent after the stop (downtime-bytes); take 7.0 or newer"
        ) from None


def typical(hosts: Sequence[Host]) -> Host:
    """The medians of one host measured several times: it is not always equally busy."""
    speeds = ("line_bytes_per_s", "stopped_bytes_per_s", "window_late_ms")
    medians = {name: statistics.median(getattr(host, name) for host in hosts) for name in speeds}
    ahead_bytes = {
        number: statistics.median(host.channels_ahead_bytes[number] for host in hosts)
        for number in hosts[0].channels_ahead_bytes
    }
    return dataclasses.replace(hosts[0], **medians, channels_ahead_bytes=ahead_bytes)


def release(version: str) -> tuple[int, int]:
    """Major and minor number of a QEMU; (0, 0) for a version that does not begin with them."""
    number = re.match(r"(\d+)\.(\d+)", version)
    return (int(number[1]), int(number[2])) if number else (0, 0)


def buffer_pages(version: str) -> int:
    """How many pages QEMU buffers before they count towards a window's share.

    Up to 8.1 each page counted at once. Since then ``migration_transferred_bytes`` sees only what was flushed
    (migration/migration-stats.c), which is done for 64 pieces (``MAX_IOV_SIZE``, migration/qemu-file.c): 32 headers
    and 32 pages.
    """
    return 32 if release(version) >= (8, 2) else 1


def _ahead_bytes(info: dict[str, Any], late_ms: float) -> float:
    """What went in a whole window beyond its share: all but what the last, which nothing ended, sent in its time."""
    spent_ms = info["total-time"] - info["setup-time"] - info["downtime"]
    windows = max(1, int(spent_ms / (WINDOW_MS + late_ms)))
    # The last window sends what is left: between nothing and as much as the others.
    per_window = info["ram"]["transferred"] / (windows + 0.5)
    return float(max(0.0, per_window - _LIMITED / 10))


def _window_late_ms(limited: dict[str, Any], share_bytes: float) -> float:
    """How much longer than 100 ms a window lasted: the time not accounted for by whole windows, over these."""
    windows = int(limited["ram"]["transferred"] / share_bytes)
    spent_ms = limited["total-time"] - limited["setup-time"] - limited["downtime"]
    return max(0.0, spent_ms / windows - WINDOW_MS)


async def _undisturbed(qemu: Qemu, case: Case, folder: Path) -> _Run:
    runs: list[_Run] = []
    while len(runs) < _ATTEMPTS and (not runs or runs[-1].waited > _DISTURBED):
        runs.append(await _carry_out(qemu, case, folder))
    return min(runs, key=lambda run: run.waited)


async def _carry_out(qemu: Qemu, case: Case, folder: Path) -> _Run:
    boot = folder / "boot.img"
    boot.write_bytes(boot_sector(case.program).ljust(_FLOPPY_BYTES, b"\0"))
    async with (
        started(qemu, folder, "source", boot, MEMORY_BYTES) as source,
        started(qemu, folder, "destination", boot, MEMORY_BYTES, incoming=True) as destination,
    ):
        await source.until_ready()
        for machine in (source, destination):
            await _choose_channels(machine, case)
        port = await _listen(destination)
        began, before_s = time.monotonic(), _waited_s(source, destination)
        info, stores = await _migrate(source, port, case)
        waited_s = _waited_s(source, destination) - before_s
        return _Run(info, stores, waited_s / (time.monotonic() - began))


def _waited_s(*machines: Machine) -> float:
    return stolen_s() + sum(machine.waited_s() for machine in machines)


async def _choose_channels(machine: Machine, case: Case) -> None:
    """Capabilities and parameters beyond QEMU's defaults, the same at both ends."""
    on = capabilities(case.settings)
    if on:
        chosen = [{"capability": name, "state": True} for name in on]
        await machine.ask("migrate-set-capabilities", capabilities=chosen)
    parameters = channel_parameters(case.settings)
    if parameters:
        named = {name.replace("_", "-"): value for name, value in parameters.items()}
        await machine.ask("migrate-set-parameters", **named)


async def _listen(destination: Machine) -> str:
    """The port that the destination waits at; the kernel chooses a free one."""
    await destination.ask("migrate-incoming", uri="tcp:127.0.0.1:0")
    for _ in range(100):
        addresses = (await destination.ask("query-migrate")).get("socket-address")
        if addresses:
            return str(addresses[0]["port"])
        await asyncio.sleep(0.05)
    raise RunFailed("the destination QEMU names no port")


async def _migrate(source: Machine, port: str, case: Case) -> tuple[dict[str, Any], Stores]:
    await source.ask(
        "migrate-set-parameters",
        **{"max-bandwidth": case.bandwidth_bytes_per_s, "downtime-limit": case.downtime_limit_ms},
    )
    began, first = await _stores(source)
    await asyncio.sleep(_BEFORE_S)
    at_start = await source.stores()
    await source.ask("migrate", uri=f"tcp:127.0.0.1:{port}")
    now, stores = await _stores(source)
    throttle = 0
    while True:
        info = await source.ask("query-migrate")
        # Given only while the migration is under way.
        throttle = info.get("cpu-throttle-percentage", throttle)
        info = {**info, "cpu-throttle-percentage": throttle}
        status = info.get("status")
        if status == "failed":
            raise RunFailed(f"QEMU: the migration failed: {info.get('error-desc', 'no reason given')}")
        if status in ("completed", "cancelled"):
            return info, Stores(at_start, (stores - first) / (now - began))
        if status == "active" and info["total-time"] >= case.limit_ms:
            await source.ask("migrate_cancel")
            return info, Stores(at_start, (stores - first) / (now - began))
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
