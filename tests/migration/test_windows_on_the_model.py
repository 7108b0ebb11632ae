"""A run sends as the rule that `bench validate qemu` holds against QEMU: in windows, at the line's speed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from support.runs import MS, PHASES, costs, machine, run

from strategies import Untracked
from vfbench.errors import UserError
from vfbench.experiment import Guest, Precopy
from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT
from vfbench.validation.qemu.account import Account, Case, Host, Stores
from vfbench.validation.qemu.prediction import FIRST_PAGE, predict
from vfbench.workload import next_random
from workloads import SmallPackets

MBPS, GBPS, MIB = 10**6, 10**9, 1 << 20
GUEST = Guest(memory_bytes=64 * MIB, packet_memory_bytes=4 * MIB)
WORKING_SET_BYTES = 16 * MIB
STREAM_PAGE_BITS = 8 * (PAGE_BYTES + 8)
NOTHING_BUT_SENDING = costs(
    write_fault=0,
    log_sync_per_page=0,
    log_sync_per_gib=0,
    guest_pause=0,
    device_stop=0,
    destination_load_rate=10**6,
    emulator_stop=0,
    emulator_start=0,
)
SHARE_PAGES = 610
"""Of 2.5 MB, a tenth of 200 Mb/s: the last page is sent whole."""
LONGEST_MS = 9000.0
A_FEW_PAGES = 4
"""A QEMU guest dirties a page of its own besides; where a store falls is known to one store."""


@dataclass(frozen=True)
class SameStores:
    """The stores of the model's guest, number by number, as a QEMU guest's program tells of its own."""

    pages_of_stores: Any
    filled_pages: int = 0

    def pages(self, first: int, count: int) -> Any:
        return self.pages_of_stores[first : first + count]


def dirtying(rate: int) -> SmallPackets:
    """No packets to speak of: a frame every 11 minutes."""
    return SmallPackets(rate_bps=1000, working_set_bytes=WORKING_SET_BYTES, dirty_rate_pages_per_s=rate)


def on_the_model(rate: int, migration: Precopy) -> Any:
    return run(Untracked(), dirtying(rate), NOTHING_BUT_SENDING, guest=GUEST, migration=migration)


def by_the_rule(rate: int, migration: Precopy) -> Account:
    """The rule alone, over the same stores on the same line."""
    fresh = machine(Untracked(), dirtying(rate), NOTHING_BUT_SENDING, guest=GUEST)
    engine = fresh.engine
    first = (int(engine.writer_base) >> PAGE_SHIFT) - FIRST_PAGE
    stores = [
        first + next_random(engine) % int(engine.writer_pages) for _ in range(int(rate * LONGEST_MS / 1000))
    ]
    before = 1 + (PHASES.warmup_ns + PHASES.steady_ns) * rate // 10**9
    pages = GUEST.memory_bytes // PAGE_BYTES
    case = Case(
        "", SameStores(np.array(stores)), migration.bandwidth_bps // 8, migration.downtime_limit_ns // MS, 0
    )
    line = migration.line_rate_bps / 8
    return predict(case, Stores(before, rate), Host(line, line, 0.0, pages, pages), LONGEST_MS)


def took_ms(measures: dict[str, Any]) -> float:
    """From the start to the last page: what comes after it is no part of the rule."""
    return measures["total_time_ms"] - sum(
        measures[f"{part}_ms"]
        for part in ("quiesce", "emulator", "final_sync", "state_transfer", "remap", "restore")
    )


@pytest.mark.parametrize(
    ("mbps", "line_gbps", "share", "limit_ms"),
    [
        (100, 10, 0.25, 10),
        (200, 1, 0.75, 10),
        (200, 10, 0.75, 30),
        (500, 1, 0.9, 60),
        (500, 10, 0.9, 30),
        (1000, 1, 0.5, 30),
    ],
)
def test_a_run_takes_the_rounds_bytes_and_time_of_the_rule_that_is_held_against_qemu(
    mbps, line_gbps, share, limit_ms
):
    rate = round(share * mbps * MBPS / STREAM_PAGE_BITS)
    settings = Precopy(
        bandwidth_bps=mbps * MBPS,
        line_rate_bps=line_gbps * GBPS,
        downtime_limit_ns=limit_ms * MS,
        max_rounds=1000,
    )
    measures, rule = on_the_model(rate, settings).measures, by_the_rule(rate, settings)
    assert (measures["converged"], measures["rounds"]) == (rule.converged, rule.syncs - 2)
    assert measures["sent_bytes"] == pytest.approx(rule.sent_bytes, rel=0.001)
    assert took_ms(measures) == pytest.approx(rule.total_ms, rel=0.001)
    assert measures["final_copy_ms"] == pytest.approx(
        rule.downtime_ms, abs=A_FEW_PAGES * STREAM_PAGE_BITS / line_gbps / 1e6
    )


def test_no_more_than_a_windows_share_is_sent_in_a_window_and_that_at_the_lines_speed():
    settings = Precopy(bandwidth_bps=200 * MBPS, downtime_limit_ns=30 * MS)
    (first,) = on_the_model(0, settings).rounds
    windows = 64 * MIB // PAGE_BYTES // SHARE_PAGES
    rest_pages = 64 * MIB // PAGE_BYTES - windows * SHARE_PAGES
    assert first["duration_ms"] == pytest.approx(windows * 100 + rest_pages * STREAM_PAGE_BITS / 10 / 1e6)


def test_after_the_stop_what_is_left_goes_at_the_lines_speed():
    measures = on_the_model(3000, Precopy(bandwidth_bps=200 * MBPS, downtime_limit_ns=60 * MS)).measures
    pages = round(measures["final_copy_ms"] * 1e6 * 10 / STREAM_PAGE_BITS)
    assert pages > 20
    assert measures["final_copy_ms"] == pytest.approx(pages * STREAM_PAGE_BITS / 10 / 1e6)


def test_a_bandwidth_over_the_lines_is_refused_with_what_would_do():
    with pytest.raises(UserError, match=r"25Gbps is over migration.line-rate \(10Gbps\).*line-rate=25Gbps"):
        Precopy(bandwidth_bps=25 * GBPS)
