"""The comparison of memories catches what differs, page by page, and finds nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.runs import DRIVER, STRATEGIES, changed, experiment, machine

from strategies import Untracked
from vfbench.experiment import Guest
from vfbench.experiment import Precopy as Settings
from vfbench.layout import lay_out
from vfbench.machine.memory.guest_memory import DEVICE_WROTE, LOGGED, PAGE_SHIFT, WORDS_PER_PAGE, Memory
from vfbench.migration.comparison import Comparison, compare
from vfbench.migration.precopy import Precopy
from vfbench.testbeds.model.migration import ModelMigration
from vfbench.testbeds.model.timeline import Timeline
from workloads import Bulk

MIB, MS_PS = 1 << 20, 10**9
LAYOUT = lay_out(experiment(Untracked()))
PAGES = LAYOUT.backed_bytes >> PAGE_SHIFT
RINGS = [
    page for ring in LAYOUT.queues[0].rings for page in range(ring.first_page, ring.first_page + ring.pages)
]
PACKETS = range(LAYOUT.queues[0].packets.first_page, LAYOUT.queues[0].packets.end >> PAGE_SHIFT)


def two_memories():
    return tuple(Memory(LAYOUT.structures.end, LAYOUT.backed_bytes) for _ in range(2))


def words_of(page):
    """Which words hold a page: 512 of a structure's, 8 content words of any other."""
    structures = LAYOUT.structures.pages
    if page < structures:
        return range(page * WORDS_PER_PAGE, (page + 1) * WORDS_PER_PAGE)
    first = structures * WORDS_PER_PAGE + (page - structures) * 8
    return range(first, first + 8)


def test_equal_memories_have_no_stale_page():
    source, destination = two_memories()
    source.words[:] = destination.words[:] = np.arange(len(source.words))
    assert compare(source, destination, LAYOUT) == Comparison(0, 0, 0, PAGES)


@given(page=st.integers(0, PAGES - 1), offset=st.integers(0, WORDS_PER_PAGE - 1), bit=st.integers(0, 62))
@settings(max_examples=60, deadline=None)
def test_one_changed_bit_is_one_stale_page_of_its_class(page, offset, bit):
    source, destination = two_memories()
    words = words_of(page)
    destination.words[words[offset % len(words)]] ^= 1 << bit
    found = compare(source, destination, LAYOUT)
    expected = (page in PACKETS, page in RINGS, page not in PACKETS and page not in RINGS)
    assert (found.stale_payload, found.stale_descriptor, found.stale_other) == expected
    assert found.compared == PAGES


@pytest.mark.parametrize(("pages", "counted"), [(PACKETS, "stale_payload"), (RINGS, "stale_descriptor")])
def test_the_first_and_the_last_page_of_a_class_belong_to_it(pages, counted):
    for page in (pages[0], pages[-1]):
        source, destination = two_memories()
        source.words[words_of(page)[0]] = 1
        assert getattr(compare(source, destination, LAYOUT), counted) == 1


@given(st.sets(st.integers(0, PAGES - 1), max_size=50))
@settings(max_examples=20, deadline=None)
def test_pages_are_counted_once_however_much_of_them_differs(pages):
    source, destination = two_memories()
    for page in pages:
        source.words[list(words_of(page))] = 7
    found = compare(source, destination, LAYOUT)
    assert found.stale_payload + found.stale_descriptor + found.stale_other == len(pages)


# --- every page that was dirtied is sent after its last write

SMALL_GUEST = Guest(memory_bytes=64 * MIB, packet_memory_bytes=MIB)
SMALL_RINGS = changed(DRIVER, rx_ring=64, tx_ring=64)


class Watched:
    """A migration sent page by page, and which pages the device wrote since each was sent last."""

    def __init__(self, strategy, **driver):
        workload = Bulk(rate_bps=10**9, working_set_bytes=64 * 1024)
        self.machine = machine(strategy, workload, guest=SMALL_GUEST, driver=changed(SMALL_RINGS, **driver))
        self.machine.advance(MS_PS)
        self.timeline = Timeline(self.machine, 10**9, lambda _: None)
        self.migration = ModelMigration(self.machine, self.timeline)
        self.written_since_sent = np.zeros(self.machine.memory.pages, dtype=np.bool_)

    def send_one_page(self):
        transfer = self.migration.sender._transfer
        before = int(transfer.sent_pages)
        more = self.migration.sender.send_until(self.machine.now_ps + 1)
        if int(transfer.sent_pages) == before + 1 and transfer.cursor > 0:
            self.written_since_sent[int(transfer.cursor) - 1] = False
        self.note_writes()
        return more

    def note_writes(self):
        self.timeline.harvest()
        written = self.timeline.written_since_sync
        self.written_since_sent |= written & DEVICE_WROTE != 0
        written[:] = 0

    def pre_copy(self, rounds):
        self.migration.sender.start_log()
        for _ in range(rounds):
            while self.send_one_page():
                pass
            self.migration.sender.sync_log()
            self.note_writes()

    def stop_and_copy(self):
        self.migration.pause_guest()
        self.migration.stop_device()
        self.note_writes()
        marks = self.machine.memory.marks
        self.written_since_sent[(marks & LOGGED != 0) | (self.migration.sender._pending != 0)] = False
        self.migration.copy_rest()

    def stale(self):
        source, target = self.machine.memory, self.migration.sender.target
        differs = source.words != target.words
        structures = source.structure_bytes >> 3
        return np.concatenate(
            [
                differs[:structures].reshape(-1, WORDS_PER_PAGE).any(axis=1),
                differs[structures:].reshape(-1, 8).any(axis=1),
            ]
        )


@pytest.mark.parametrize(("rounds", "reuse"), [(1, "flip"), (3, "flip"), (3, "none")])
def test_untracked_the_stale_pages_are_those_that_the_device_wrote_after_their_last_copy(rounds, reuse):
    watched = Watched(Untracked(), page_reuse=reuse, page_order="fifo")
    watched.pre_copy(rounds)
    watched.stop_and_copy()
    assert np.flatnonzero(watched.stale()).tolist() == np.flatnonzero(watched.written_since_sent).tolist()
    assert watched.stale().any()


# Of post-copy memory is compared when all of it has come (tests/strategies/test_post_copy.py).
@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"untracked", "post-copy"}))
def test_a_sound_strategy_leaves_source_and_destination_equal_word_for_word(name):
    made = machine(STRATEGIES[name](), Bulk(rate_bps=10**9, send_ratio=0.5))
    made.advance(MS_PS)
    migration = ModelMigration(made, Timeline(made, 10**9, lambda _: None))
    source, compared, move = made.memory, [], migration._move

    def compare_and_move():
        compared.append(np.array_equal(source.words, migration.sender.target.words))
        move()

    migration._move = compare_and_move
    made.experiment.strategy.migrate(migration)
    assert compared[0]


def test_pre_copy_sends_each_page_at_least_once_and_what_is_dirty_again():
    slow_enough_for_rounds = Settings(bandwidth_bps=2 * 10**9, line_rate_bps=2 * 10**9)
    made = machine(STRATEGIES["dummy-write"](), Bulk(), migration=slow_enough_for_rounds)
    migration = ModelMigration(made, Timeline(made, 10**9, lambda _: None))
    rule = Precopy(migration.sender, downtime_limit_ns=10**6, max_rounds=10**6)
    with pytest.raises(StopIteration):
        run_rounds(migration, rule, 3)
    assert migration.sender._sent_before.all()
    assert migration.sender._transfer.cold_pages == 0
    assert migration.sender.sent_pages * 4104 == migration.sender.sent_bytes
    assert migration.sender.resent_bytes == migration.sender.sent_bytes - (64 * MIB >> PAGE_SHIFT) * 4104


def run_rounds(migration, rule, rounds):
    """Stop the rule after so many syncs."""
    sync = migration.sender.sync_log

    def counted():
        if len(rule.rounds) > rounds:
            raise StopIteration
        return sync()

    migration.sender.sync_log = counted
    rule.run()
