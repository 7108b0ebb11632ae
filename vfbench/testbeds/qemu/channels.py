"""Migration channels as a real QEMU is asked for them: capabilities and parameters of QMP, on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfbench.settings import Precopy


def capabilities(migration: Precopy) -> tuple[str, ...]:
    """Capabilities to switch on, by QEMU's names; none by default."""
    wanted = {"multifd": migration.multifd_channels > 0, "auto-converge": migration.auto_converge}
    return tuple(name for name, on in wanted.items() if on)


def channel_parameters(migration: Precopy) -> dict[str, int | str | bool]:
    """Parameters that go with them, by QEMU's names with underscores; none by default, so that any QEMU will do."""
    found: dict[str, int | str | bool] = {}
    if migration.multifd_channels:
        found["multifd_channels"] = migration.multifd_channels
    if migration.zero_pages != "filled":
        found["zero_page_detection"] = migration.zero_pages
    if migration.auto_converge:
        found["cpu_throttle_initial"] = round(100 * migration.cpu_throttle_initial_ratio)
        found["cpu_throttle_increment"] = round(100 * migration.cpu_throttle_increment_ratio)
        found["max_cpu_throttle"] = round(100 * migration.cpu_throttle_most_ratio)
        found["throttle_trigger_threshold"] = round(100 * migration.throttle_trigger_ratio)
        found["cpu_throttle_tailslow"] = migration.cpu_throttle_tailslow
    return found
