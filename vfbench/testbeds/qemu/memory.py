"""Whether guests fit into the memory that can be had: a guest that is killed for want of it ends without a word."""

from __future__ import annotations

from pathlib import Path

from vfbench.errors import UserError

MIB = 1 << 20
QEMU_BYTES = 160 * MIB
"""What a QEMU takes beside the guest's memory, with translated code: 130 to 150 MiB were seen under TCG."""
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


def needed_bytes(guest_bytes: int, *, guests: int) -> int:
    """What so many guests of this size want."""
    return guests * (guest_bytes + QEMU_BYTES)


def available_bytes() -> int:
    """What can be had without swapping, within this control group's limit."""
    lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines() if ":" in line)
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = (_number(CGROUP / name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, max(limit - used, 0))


def refuse_without_memory(guest_bytes: int, *, guests: int) -> None:
    """UserError where the guests would not fit."""
    needed, there = needed_bytes(guest_bytes, guests=guests), available_bytes()
    if needed > there:
        raise UserError(
            f"qemu.memory={guest_bytes // MIB}MiB: {guests} guests want {needed // MIB} MiB with their QEMUs, and "
            f"{there // MIB} MiB can be had; set qemu.memory lower"
        )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
