"""QEMU's auto-converge: the rule by itself, and what it does to a guest on the model."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.runs import costs, run

from strategies import Untracked
from vfbench.errors import UserError
from vfbench.experiment import Guest, Precopy
from vfbench.migration.auto_converge import PERIOD_PS, SLICE_PS, SYNC_PS, AutoConverge, asleep_ps
from workloads import SmallPackets

MBPS, MIB = 10**6, 1 << 20
CONVERGES = Precopy(
    bandwidth_bps=200 * MBPS, line_rate_bps=200 * MBPS, downtime_limit_ns=30 * 10**6, auto_converge=True
)
GUEST = Guest(memory_bytes=64 * MIB, packet_memory_bytes=4 * MIB)


def converge(**changes: Any) -> AutoConverge:
    rule = AutoConverge(dataclasses.replace(CONVERGES, **changes))
    rule.start(0, 0)
    return rule


def throttles(rule: AutoConverge, dirty: list[int], sent_bytes: int = 1000) -> list[int]:
    """The throttle after each period in which so much was dirtied, and as much as always was sent."""
    found = []
    for number, dirty_bytes in enumerate(dirty, start=1):
        rule.after_sync(number * (PERIOD_PS + 1), dirty_bytes, number * sent_bytes)
        found.append(rule.percent)
    return found


def test_the_second_period_that_dirties_over_half_of_what_was_sent_throttles_by_20_then_10_more():
    assert throttles(converge(), [501] * 6) == [0, 20, 20, 30, 30, 40]


def test_half_of_what_was_sent_is_not_yet_too_fast():
    assert throttles(converge(), [500] * 6) == [0] * 6


def test_a_slow_period_between_two_fast_ones_does_not_start_the_count_anew():
    assert throttles(converge(), [501, 0, 501]) == [0, 0, 20]


def test_the_throttle_ends_at_99_percent():
    assert throttles(converge(), [10**6] * 40)[-3:] == [99, 99, 99]


def test_syncs_within_a_second_are_one_period():
    rule = converge()
    for number in range(1, 11):
        rule.after_sync(number * PERIOD_PS // 10, 100, number * 100)
    assert rule.percent == 0  # 1 s is not over 1 s yet: no period has ended
    rule.after_sync(PERIOD_PS + 1, 0, 1000)
    rule.after_sync(2 * PERIOD_PS + 2, 501, 2000)
    assert rule.percent == 20


def test_a_tail_slow_step_is_no_larger_than_the_dirty_rate_asks_for():
    # 80 % of the CPU dirty 600 where 500 would do: 66 % do, so 14 points fewer, of which 10 at most.
    assert throttles(converge(cpu_throttle_tailslow=True), [600] * 4) == [0, 20, 20, 30]
    # 520 where 500 would do: 76 % do.
    assert throttles(converge(cpu_throttle_tailslow=True), [520] * 4) == [0, 20, 20, 24]


def test_the_timer_syncs_after_5_s_without_a_sync_but_not_in_the_first_round():
    rule = converge()
    assert not rule.wants_sync(SYNC_PS, 1)  # the first round copies all memory
    assert not rule.wants_sync(2 * SYNC_PS, 2)  # a sync came meanwhile
    assert not rule.wants_sync(2 * SYNC_PS + 1, 2)
    assert rule.wants_sync(3 * SYNC_PS, 2)
    assert not rule.wants_sync(4 * SYNC_PS, 4)


@pytest.mark.parametrize(("percent", "share"), [(20, 0.2), (50, 0.5), (99, 0.99)])
def test_a_throttled_vcpu_sleeps_for_its_share_of_the_time(percent, share):
    assert asleep_ps(percent) / (asleep_ps(percent) + SLICE_PS) == pytest.approx(share)


@pytest.mark.parametrize("name", ["cpu_throttle_initial_ratio", "throttle_trigger_ratio"])
def test_what_shapes_auto_converge_is_refused_without_it(name):
    with pytest.raises(UserError, match=r"cannot act without migration\.auto-converge=true"):
        Precopy(**{name: 0.3})


def test_a_first_throttle_over_the_last_is_refused():
    with pytest.raises(UserError, match=r"cpu-throttle-initial: 0\.5 is over migration\.cpu-throttle-most"):
        Precopy(auto_converge=True, cpu_throttle_initial_ratio=0.5, cpu_throttle_most_ratio=0.4)


# --- on the model


def migrated(strategy: Any, migration: Precopy, rate_bps: int = 5 * MBPS) -> Any:
    """A guest that dirties 80 MB/s besides, over a line of 25 MB/s."""
    work = SmallPackets(rate_bps=rate_bps, working_set_bytes=16 * MIB, dirty_rate_pages_per_s=20_000)
    return run(strategy, work, costs(), guest=GUEST, migration=migration)


def test_a_guest_that_dirties_faster_than_the_line_converges_only_by_being_slowed_down():
    alone = migrated(Untracked(), dataclasses.replace(CONVERGES, auto_converge=False))
    slowed = migrated(Untracked(), dataclasses.replace(CONVERGES, max_rounds=200))
    throttle = [each["throttle_percent"] for each in slowed.rounds]
    assert (alone.state, slowed.state) == ("not-converged", "ok")
    assert throttle[0] == 0
    assert throttle[-1] >= 70  # 80 MB/s come to below 25 MB/s at 69 %
    assert set(throttle) <= {0, *range(20, 100, 10), 99}
    assert {each["throttle_percent"] for each in alone.rounds} == {None}


def test_a_throttled_guest_does_less_and_its_device_loses_what_finds_no_descriptor():
    """DMA goes on while the vCPUs sleep: what fits into ring and FIFO waits, what does not is lost."""
    migration = dataclasses.replace(CONVERGES, max_rounds=200, cpu_throttle_initial_ratio=0.9)
    slowed = migrated(Untracked(), migration, rate_bps=100 * MBPS)
    dirtied = [each["dirty_pages_cpu"] for each in slowed.intervals if each["phase"] == "migrating"]
    lost = [each["packets_lost"] for each in slowed.intervals if each["phase"] == "migrating"]
    assert slowed.state == "ok"
    assert sum(lost[:50]) == 0  # before the first throttle
    assert sum(lost[-50:]) > 0
    assert sum(dirtied[-50:]) < 0.3 * sum(dirtied[:50])
