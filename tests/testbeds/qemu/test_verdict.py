"""Every frame ends in one class, and the counts of two observers are brought together."""

from types import SimpleNamespace

import numpy as np
import pytest

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.measures import integrity, memories
from vfbench.testbeds.qemu.rounds import Rounds
from vfbench.testbeds.qemu.verdict import _counters, read_report

COUNTERS = {
    "udp_errors": 1,
    "rx_dropped": 1,
    "rx_errors": 0,
    "rx_missed_errors": 0,
    "rx_crc_errors": 0,
    "rx_length_errors": 0,
}
COUNTS = {
    "lost_fifo": 1,
    "lost_descriptor": 0,
    "lost_blackout": 2,
    "lost_reset": 0,
    "lost_dma": 0,
    "tx_delivered": 3,
    "tx_corrupted": 0,
    "tx_duplicated": 0,
    "dma_faults": 0,
}


def verdict(seen, offered, counters=COUNTERS, **stale):
    report = {
        "zero": 0,
        "older": 0,
        "mixture": 0,
        "foreign": 0,
        "short": 0,
        "answered": 4,
        "port": 9000,
        "socket_drops": 0,
        "seen": seen,
        **stale,
    }
    return read_report(report, counters, offered)


def test_the_bitmap_of_good_packets_is_read_by_sequence_number():
    assert np.flatnonzero(verdict("0580", 16).good).tolist() == [0, 2, 15]


def test_a_bitmap_longer_or_shorter_than_what_was_offered_is_cut_or_padded():
    assert len(verdict("ffff", 5).good) == 5
    assert verdict("01", 20).good.sum() == 1


def test_every_frame_is_in_one_class():
    landed = np.full(20, 4096)
    landed[17:] = -1
    row = integrity(COUNTS, landed, verdict("ff0f", 20, zero=2))
    assert row["packets_delivered"] == 12
    assert row["packets_corrupted"] == 2
    assert row["packets_lost_socket"] == 2
    assert row["packets_lost_ring"] == 1
    named = ("fifo", "descriptor", "blackout", "reset", "dma", "ring", "socket")
    assert row["packets_lost"] == sum(row[f"packets_lost_{name}"] for name in named) == 6
    assert row["packets_offered"] == 20


def test_of_a_packet_socket_its_own_drops_count_and_not_udps():
    found = verdict("ff", 8, port=0, socket_drops=2)
    assert found.dropped == 2 + sum(
        COUNTERS[name] for name in COUNTERS if name.startswith("rx_") and name != "rx_packets"
    )


def test_more_stale_packets_than_landed_are_duplicates():
    row = integrity(COUNTS, np.full(8, 4096), verdict("7f", 8, older=3))
    assert row["packets_corrupted"] == 1
    assert row["packets_duplicated"] == 2


def test_an_answer_that_never_came_is_lost():
    row = integrity(COUNTS, np.full(8, 4096), verdict("ff", 8))
    assert row["packets_sent"] == 4
    assert row["packets_sent_lost"] == 1


def test_a_page_that_differs_is_of_a_ring_or_of_a_packet_or_of_something_else():
    comparison = {
        "differs": np.array([1, 2, 3, 4, 5, 9]),
        "device_wrote": np.array([1, 2, 4, 5, 7]),
        "held": np.array([4, 7]),
        "compared": 16,
    }
    row = memories(comparison, [2])
    assert row == {
        "stale_pages_payload": 3,
        "stale_pages_held": 1,
        "stale_pages_free": 2,
        "stale_pages_descriptor": 1,
        "stale_pages_other": 2,
        "pages_compared": 16,
    }


def test_rounds_are_told_apart_by_qemus_count_of_syncs():
    rounds = Rounds()
    steps = [(1, 100, 5000), (1, 90, 4000), (2, 90, 20 * 4096), (2, 95, 10 * 4096)]
    began = [
        rounds.note(
            {
                "ram": {
                    "dirty-sync-count": sync,
                    "normal": sent,
                    "remaining": left,
                    "transferred": sent * 4096,
                }
            },
            at / 10,
        )
        for at, (sync, sent, left) in enumerate(steps)
    ]
    assert began == [True, False, True, False]
    assert [row["dirty_pages"] for row in rounds.rows()] == [20, None]


def test_a_guest_whose_kernel_kills_what_asks_for_its_counters_says_why():
    def answer(command, limit_s):
        return ["Oops: general protection fault"] if command.startswith("dmesg") else ["Killed"]

    guest = SimpleNamespace(console=SimpleNamespace(ask=answer))
    with pytest.raises(RunFailed, match="but Killed; its kernel said: Oops: general protection fault"):
        _counters(guest)
