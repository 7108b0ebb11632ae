"""multifd and pages of zeros: what a page takes, where the line saturates, and a run's bytes and times."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.runs import run, with_costs

from strategies import AllPinnedDirty, VirtioNet
from vfbench.errors import UserError
from vfbench.experiment import Experiment, Guest, Precopy
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.migration.channels import PACKET_BYTES, page_times
from vfbench.needs import needs_of
from vfbench.profiles import load_profile
from vfbench.testbeds import kvm, model
from workloads import SmallPackets

GBPS, MIB, GIB = 10**9, 1 << 20, 1 << 30
PROFILE = load_profile("modern-100g")
FAST = Precopy(bandwidth_bps=100 * GBPS, line_rate_bps=100 * GBPS)
IDLE = SmallPackets(rate_bps=10**6)


def times(profile: Any = PROFILE, **changes: Any) -> Any:
    return page_times(profile, dataclasses.replace(FAST, **changes))


def migrated(guest: Guest, **changes: Any) -> Any:
    return run(VirtioNet(), IDLE, PROFILE, guest=guest, migration=dataclasses.replace(FAST, **changes))


# --- what a page takes


def test_one_stream_is_held_up_by_the_one_thread_that_loads_it():
    assert times().saturated == "destination"
    assert times().page_bytes == PAGE_BYTES + 8


def test_n_channels_load_n_times_as_fast_until_something_else_is_full():
    one, two, four, many = (times(multifd_channels=n) for n in (1, 2, 4, 64))
    assert (one.saturated, two.saturated, four.saturated) == ("destination",) * 3
    assert one.page_ps == pytest.approx(2 * two.page_ps, rel=1e-4)
    assert one.page_ps == pytest.approx(4 * four.page_ps, rel=1e-4)
    assert many.saturated in ("line", "migration-thread")
    assert times(multifd_channels=255).page_ps == many.page_ps


def test_a_slower_line_saturates_with_fewer_channels_and_more_of_them_change_nothing():
    slow = {"line_rate_bps": 10 * GBPS, "bandwidth_bps": 10 * GBPS}
    assert times(**slow, multifd_channels=1).saturated == "line"
    assert times(**slow, multifd_channels=1).page_ps == times(**slow, multifd_channels=8).page_ps


def test_channels_that_send_slowly_are_what_a_page_waits_for():
    slow = with_costs(PROFILE, multifd_send_rate=500)
    assert times(slow, multifd_channels=4).saturated == "channels"
    assert times(slow, multifd_channels=4).page_ps == pytest.approx(
        (PAGE_BYTES + PACKET_BYTES / 128) / 4 / 500 * 1e6, rel=0.01
    )


def test_a_migration_thread_that_finds_pages_slowly_is_what_a_page_waits_for():
    slow = with_costs(PROFILE, multifd_queue_page=6000)
    assert times(slow, multifd_channels=64).saturated == "migration-thread"


def test_a_packet_s_header_and_offsets_are_shared_by_its_128_pages():
    assert PACKET_BYTES == 320 + 8 * 128  # MultiFDPacket_t with its offsets
    assert times(multifd_channels=4).page_bytes == PAGE_BYTES + 10


def test_a_page_of_zeros_is_nine_bytes_of_the_stream_and_an_offset_of_a_channel():
    assert times(zero_pages="legacy").zero_bytes == 9
    assert times(zero_pages="legacy", multifd_channels=4).zero_bytes == 9
    assert times(zero_pages="multifd", multifd_channels=4).zero_bytes == 8


def test_channels_look_for_zeros_together_and_the_migration_thread_alone():
    legacy, by_channels = (times(zero_pages=each, multifd_channels=8) for each in ("legacy", "multifd"))
    assert by_channels.zero_ps < 0.5 * legacy.zero_ps
    assert legacy.zero_ps == times(zero_pages="legacy").zero_ps


# --- runs


def test_twice_the_channels_take_half_the_time():
    guest = Guest(memory_bytes=GIB, packet_memory_bytes=8 * MIB)
    one, two, eight, many = (
        migrated(guest, multifd_channels=n).measures["total_time_ms"] for n in (1, 2, 8, 32)
    )
    assert one / two == pytest.approx(2, rel=0.1)
    assert eight == many  # the line, or the migration thread, is full


def test_zeros_are_sent_as_headers_and_counted_as_pages():
    guest = Guest(memory_bytes=GIB, packet_memory_bytes=8 * MIB, zero_memory_bytes=512 * MIB)
    full, legacy = (migrated(guest, zero_pages=each) for each in ("none", "legacy"))
    assert full.state == legacy.state == "ok"
    assert full.measures["sent_bytes"] > GIB
    assert legacy.measures["sent_bytes"] < full.measures["sent_bytes"] - 500 * MIB
    assert legacy.measures["zero_pages"] >= 512 * MIB // PAGE_BYTES
    assert full.measures["zero_pages"] is None
    assert legacy.measures["total_time_ms"] < 0.7 * full.measures["total_time_ms"]


def test_a_page_that_is_written_is_no_longer_zeros():
    """All memory counts as dirty in each round: what held zeros goes as headers again, what was written does not."""
    guest = Guest(memory_bytes=64 * MIB, packet_memory_bytes=8 * MIB)
    work = SmallPackets(rate_bps=10**6, working_set_bytes=8 * MIB, dirty_rate_pages_per_s=50_000)
    migration = dataclasses.replace(
        FAST,
        zero_pages="legacy",
        bandwidth_bps=GBPS,
        line_rate_bps=GBPS,
        max_rounds=3,
        downtime_limit_ns=10**6,
    )
    found = run(AllPinnedDirty(), work, PROFILE, guest=guest, migration=migration)
    assert found.rounds[0]["zero_pages"] > found.rounds[-1]["zero_pages"] > 0


def test_a_share_of_a_window_holds_many_more_pages_of_zeros():
    guest = Guest(memory_bytes=GIB, packet_memory_bytes=8 * MIB, zero_memory_bytes=900 * MIB)
    slow = {"bandwidth_bps": GBPS, "zero_pages": "legacy"}
    filled, zeros = migrated(guest, bandwidth_bps=GBPS), migrated(guest, **slow)
    share_bytes = GBPS // 80
    per_window = zeros.measures["sent_bytes"] / (zeros.measures["total_time_ms"] / 100)
    assert zeros.measures["total_time_ms"] < 0.3 * filled.measures["total_time_ms"]
    assert per_window <= 1.1 * share_bytes


# --- what cannot be had


def test_channels_are_asked_of_the_machine():
    experiment = Experiment(VirtioNet(), IDLE, migration=dataclasses.replace(FAST, multifd_channels=2))
    assert "multifd" in needs_of(experiment)
    assert load_profile("xeon-82599").refusals(needs_of(experiment)) == (
        "xeon-82599 has no migration over several channels (multifd): QEMU 2.5 has one stream; multifd came with 2.11 "
        "as x-multifd, and without the x with 4.0",
    )


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"zero_pages": "multifd"},
            "migration.zero-pages: multifd cannot act without migration.multifd-chan",
        ),
        ({"cpu_throttle_tailslow": True}, "cannot act without migration.auto-converge=true"),
    ],
)
def test_what_cannot_act_is_refused(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        dataclasses.replace(FAST, **changes)


def test_zero_memory_that_nobody_detects_is_refused_and_so_is_more_than_lies_untouched():
    guest = Guest(memory_bytes=GIB, packet_memory_bytes=64 * MIB, zero_memory_bytes=GIB)
    assert model.refusals(Experiment(VirtioNet(), IDLE, guest=guest, migration=FAST)) == [
        "guest.zero-memory: 1GiB cannot act without migration.zero-pages"
    ]
    detected = dataclasses.replace(FAST, zero_pages="legacy")
    refused = model.refusals(Experiment(VirtioNet(), IDLE, guest=guest, migration=detected))
    assert len(refused) == 1
    assert refused[0].startswith("guest.zero-memory: 1GiB is over ")


@pytest.mark.parametrize(
    ("guest", "changes", "name"),
    [
        ({}, {"multifd_channels": 2}, "migration.multifd-channels: 2"),
        ({}, {"zero_pages": "legacy"}, "migration.zero-pages: legacy"),
        ({}, {"auto_converge": True}, "migration.auto-converge: true"),
    ],
)
def test_a_real_vm_of_the_suite_s_own_has_one_stream(guest, changes, name):
    experiment = Experiment(
        VirtioNet(),
        IDLE,
        guest=Guest(**guest),
        migration=dataclasses.replace(Precopy(), **changes),
        testbed="kvm",
    )
    assert any(line.startswith(name) for line in kvm.refusals(experiment))
