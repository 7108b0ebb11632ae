"""Post-copy: a short stop, pages that are met before they come, and a device that can't wait for them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.runs import GUEST, PHASES, changed, experiment, measured, profile_for, run, with_costs

from strategies import DeviceDirtyLog, DummyWrite, PostCopy
from vfbench.errors import RunFailed
from vfbench.experiment import Guest
from vfbench.migration.script import carry_out
from vfbench.profiles import load_profile
from vfbench.records.damage import damage_of
from vfbench.strategy import Migration, faults_of
from vfbench.testbeds.kvm.refusals import refusals
from workloads import Bulk

MIB = 1 << 20
GBPS = 10**9
QUIET = Bulk(rate_bps=GBPS // 10)
MODERN = profile_for(PostCopy(device="faults"))
LONG = changed(PHASES, after_ns=30_000_000)


def shown(strategy: PostCopy, workload: Bulk = QUIET, **costs: float) -> dict[str, Any]:
    return measured(strategy, workload, with_costs(MODERN, **costs), phases=LONG)


def counted(measures: dict[str, Any], figure: str) -> float:
    return float(json.loads(measures["reports"])[f"absent-memory.{figure}"])


def test_the_stop_copies_nothing_but_what_the_device_may_be_given() -> None:
    waits, ahead = (shown(PostCopy(device=device)) for device in ("faults", "pre-sent"))
    dma_pages = counted(ahead, "pages_ahead")
    assert dma_pages >= GUEST.packet_memory_bytes // 4096
    on_line_ms = dma_pages * (4096 + 8) * 8 / 10e9 * 1000
    assert (waits["final_copy_ms"], ahead["final_copy_ms"]) == (0, pytest.approx(on_line_ms, rel=0.01))


def test_the_pause_does_not_grow_with_memory_and_no_page_goes_twice() -> None:
    larger = Guest(memory_bytes=4 * GUEST.memory_bytes, packet_memory_bytes=GUEST.packet_memory_bytes)
    small, large = (
        measured(PostCopy(), QUIET, MODERN, guest=guest, phases=LONG) for guest in (GUEST, larger)
    )
    assert large["vcpu_pause_ms"] == pytest.approx(small["vcpu_pause_ms"], rel=0.05)
    assert large["total_time_ms"] > 3 * small["total_time_ms"]
    assert (small["resent_bytes"], large["resent_bytes"]) == (0, 0)


@pytest.mark.parametrize("device", ["pre-sent", "faults"])
@pytest.mark.parametrize("rate", [GBPS // 100, GBPS, 0])
def test_nothing_that_comes_late_is_damaged(device: str, rate: int) -> None:
    measures = shown(PostCopy(device=device), Bulk(rate_bps=rate, send_ratio=0.5))
    assert damage_of(measures) == {}
    assert counted(measures, "vcpu_faults") > 0
    assert counted(measures, "pages_lost") == 0


def test_a_device_that_faults_waits_and_one_whose_pages_went_ahead_meets_none() -> None:
    busy = Bulk(rate_bps=GBPS)
    waits, ahead = (shown(PostCopy(device=device), busy) for device in ("faults", "pre-sent"))
    assert (counted(waits, "device_faults") > 0, counted(ahead, "device_faults")) == (True, 0)
    assert (counted(waits, "device_strays"), counted(ahead, "device_strays")) == (0, 0)


def test_a_request_waits_behind_the_background_unless_it_has_a_channel_of_its_own() -> None:
    shared, own = (shown(PostCopy(preempt=preempt)) for preempt in (False, True))
    assert shared["restore_ms"] > 3 * own["restore_ms"]
    shorter = shown(PostCopy(), post_copy_queue=0)
    assert shorter["restore_ms"] == pytest.approx(own["restore_ms"], rel=0.05)


def test_a_processors_fault_takes_what_the_profile_says() -> None:
    cheap, dear = (shown(PostCopy(preempt=True), post_copy_fault=us) for us in (0, 1000))
    in_stop = (dear["restore_ms"] - cheap["restore_ms"]) / 1.0
    assert in_stop == pytest.approx(round(in_stop), abs=0.01)
    assert in_stop >= 1


def test_a_device_that_cannot_fault_and_is_let_loose_loses_what_the_incoming_page_covers() -> None:
    loose = shown(PostCopy(device="let-loose"), Bulk(rate_bps=GBPS))
    assert faults_of(PostCopy(device="let-loose")) == (19,)
    assert counted(loose, "device_strays") > 0
    assert set(damage_of(loose)) & {"packets_corrupted", "packets_phantom"}


def test_when_the_source_dies_the_guest_stands_still_and_what_had_not_come_is_lost() -> None:
    dead, alive = (shown(PostCopy(source_dies=dies), Bulk(rate_bps=GBPS)) for dies in (True, False))
    assert faults_of(PostCopy(source_dies=True)) == (20,)
    assert counted(dead, "pages_lost") > GUEST.memory_bytes / 4096 / 2
    assert dead["stale_pages_other"] > 100 > alive["stale_pages_other"]
    after = [
        each for each in run(PostCopy(source_dies=True), phases=LONG).intervals if each["phase"] == "after"
    ]
    assert after[-1]["packets_delivered"] == 0


def test_what_has_not_been_copied_need_not_be_tracked() -> None:
    names = {each.name for each in PostCopy().mechanisms}
    assert names == {"vf", "absent-memory"}
    assert shown(PostCopy())["guest_cycles_per_packet"] == pytest.approx(
        measured(DeviceDirtyLog(), QUIET, MODERN)["guest_cycles_per_packet"], rel=0.01
    )


def test_it_is_hypothetical_everywhere_since_qemu_blocks_it_and_a_card_that_cannot_fault_is_refused() -> None:
    for name in ("xeon-82599", "modern-25g", "modern-100g"):
        assert "post_copy_vf" in load_profile(name).hypothetical(PostCopy().mechanisms[1].needs)
    needs = PostCopy(device="faults").mechanisms[1].needs
    assert any("absent page" in line for line in load_profile("xeon-82599").refusals(needs))
    assert any("all its memory" in line or "absent" in line for line in refusals(experiment(PostCopy())))


def test_memory_that_was_left_behind_has_to_be_fetched() -> None:
    class Forgets(PostCopy):
        def migrate(self, migration: Migration) -> None:
            migration.pause_guest()
            migration.stop_device()
            migration.postpone_rest()
            migration.transfer_vf_state()
            migration.restore_rings()
            migration.resume()

    class Nothing:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    with pytest.raises(RunFailed, match="fetch_rest"):
        carry_out(Forgets(), Nothing())  # type: ignore[arg-type]

    class Unprepared(DummyWrite):
        def migrate(self, migration: Migration) -> None:
            migration.stop_device()
            migration.pause_guest()
            migration.postpone_rest()

    with pytest.raises(RunFailed, match="none of its mechanisms has absent memory"):
        carry_out(Unprepared(), Nothing())  # type: ignore[arg-type]
