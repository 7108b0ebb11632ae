"""Why a pre-copy did not run in rounds: QEMU's rule, with this run's figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vfbench.report.groups import Group, setting_text
from vfbench.report.numbers import size


def why_no_rounds(groups: Sequence[Group]) -> Iterable[str]:
    """A sentence where no pre-copy went on after its first pass; nothing where one did, or none was measured."""
    rounds = [value for group in groups if (value := group.median("rounds")) is not None]
    if not rounds or max(rounds) > 1:
        return
    settings = groups[0].first.settings
    limit_ns, bandwidth = (
        settings.get(f"migration.{name}") for name in ("downtime_limit_ns", "bandwidth_bps")
    )
    if not isinstance(limit_ns, int) or not isinstance(bandwidth, int):
        return
    fits = limit_ns * bandwidth // (8 * 10**9)
    limit = setting_text("downtime_limit_ns", limit_ns)
    yield (
        f"No pre-copy ran in rounds: QEMU stops as soon as what is left fits the downtime limit, and {limit} at "
        f"{setting_text('bandwidth_bps', bandwidth)} carry {size(fits)}, more than was left while the first pass "
        "was under way. Rounds take a lower --downtime-limit or --bandwidth, or more memory that is written."
    )
