"""The receive ring, and the virtqueue in its place, under any interleaving of those who share it.

The device moves the head, the driver the tail, the application gives pages back, a migration rotates everything.
Whatever their order: the device stays behind the tail, the driver takes each descriptor once, and each packet is
delivered, lost for a reason that is counted, or still inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.ring_actors import APPLICATION, DEVICE, DRIVER, REFILL, act
from support.runs import MIB, US, experiment, profile

from strategies import DummyWrite, EmulatedIommu, Untracked, VirtioNet
from vfbench.experiment import Device, Driver, Guest, Precopy
from vfbench.layout import virtqueue_size
from vfbench.machine.cpu import CPU
from vfbench.machine.driver.state import (
    HELD_HEAD,
    HELD_TAIL,
    NEXT_TO_CLEAN,
    NEXT_TO_USE,
    VIRTIO_RX_ADDED,
    VIRTIO_RX_SEEN,
)
from vfbench.machine.driver.vf_open import rotate_ring
from vfbench.machine.memory.guest_memory import Memory
from vfbench.machine.queue_pair import INCOMING_FRAMES, PATH_VF
from vfbench.machine.vf.registers import RDT
from vfbench.settings import RING_SIZES
from vfbench.strategy import backends, stop_and_copy
from vfbench.testbeds.counting import LOSSES
from vfbench.testbeds.model.machine import Machine
from vfbench.testbeds.model.migration import ModelMigration
from vfbench.testbeds.model.timeline import Timeline
from workloads import Bulk

SMALL = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[*HealthCheck])
FOR_EVER_PS = 10**12


class Queue:
    """One queue of a machine on which nothing happens by itself."""

    def __init__(
        self, strategy: Any, driver: Driver, device: Device, hold_us: int = 20, state: str = "sysfs"
    ) -> None:
        workload = Bulk(hold_ns=hold_us * US, dirty_rate_pages_per_s=0, working_set_bytes=4096)
        self.machine = Machine(
            experiment(
                strategy,
                workload,
                driver=driver,
                device=device,
                guest=Guest(memory_bytes=64 * MIB, packet_memory_bytes=8 * MIB),
                migration=Precopy(vf_state=state),
            ),
            profile(),
        )
        self.machine.source.frames_left = 0
        self.cpu, self.pair = self.machine.cpus[0], self.machine.pairs[0]
        self.is_vf = backends(strategy)[0].path == PATH_VF
        self.size = driver.rx_ring if self.is_vf else virtqueue_size(strategy)
        self.now_ps = self.last_arrival_ps = self.sequence = 0

    def act(self, who: int) -> int:
        taken = act(self.cpu, self.pair, self.machine.applications[0], who, self.now_ps)
        self.now_ps = max(self.now_ps, int(self.cpu.clock_ps))
        return int(taken)

    def wait(self, ps: int) -> None:
        self.now_ps += ps

    def arrive(self, frames: int, gap_ps: int, length: int = 64) -> None:
        pair, head, count = self.pair, int(self.pair.nic.incoming_head), int(self.pair.nic.incoming_count)
        left = count - head
        pair.nic.incoming[:left] = pair.nic.incoming[head:count].copy()
        frames = min(frames, INCOMING_FRAMES - left)
        for i in range(left, left + frames):
            self.last_arrival_ps = max(self.last_arrival_ps, self.now_ps) + gap_ps
            pair.nic.incoming[i] = (self.last_arrival_ps, self.last_arrival_ps, self.sequence, length, 0, 0)
            self.sequence += 1
        pair.nic.incoming_head, pair.nic.incoming_count = 0, left + frames
        pair.oracle.rx_offered += frames

    def migrate(self, order: str) -> None:
        """All memory is copied while nothing runs, so that only the rings can go wrong."""
        self.machine.engine.now_ps = self.now_ps
        migration = ModelMigration(self.machine, Timeline(self.machine, 10**9, lambda _: None))
        migration.sender.start_log()
        stop_and_copy(migration, order)
        if self.is_vf:
            migration.transfer_vf_state()
            migration.restore_rings()
        migration.resume()
        assert migration.comparison is not None
        assert migration.comparison.compared == self.machine.memory.pages
        self.now_ps = max(self.now_ps, self.machine.now_ps, int(self.cpu.clock_ps))

    def run_dry(self) -> None:
        """Everything that is on its way arrives and is consumed."""
        self.now_ps = max(self.now_ps, self.last_arrival_ps)
        before = -1
        while self.inside not in (0, before):
            before = self.inside
            self.wait(FOR_EVER_PS)
            self.act(DEVICE)
            while self.act(DRIVER):
                self.wait(FOR_EVER_PS)
                self.act(APPLICATION)
            self.act(APPLICATION)
            self.act(REFILL)

    def field(self, offset: int) -> int:
        return int(self.machine.memory.words[(int(self.cpu.driver) + offset) >> 3])

    @property
    def lost(self) -> int:
        return sum(int(self.pair.oracle[name]) for name in LOSSES)

    @property
    def waiting(self) -> int:
        """Written to memory, not taken by the driver."""
        return int(self.pair.oracle.slot["pending"].sum())

    @property
    def inside(self) -> int:
        """On the wire, in the FIFO, in the ring, with the application."""
        pair = self.pair
        held = self.field(HELD_TAIL) - self.field(HELD_HEAD)
        on_the_wire = pair.nic.incoming_count - pair.nic.incoming_head
        return int(on_the_wire + pair.nic.fifo_tail - pair.nic.fifo_head + self.waiting + held)


def check_vf_indices(queue: Queue) -> None:
    mask, head = queue.size - 1, int(queue.pair.nic.rx_head)
    tail, clean = int(queue.pair.nic.register[RDT]), queue.field(NEXT_TO_CLEAN)
    assert tail == queue.field(NEXT_TO_USE)
    assert ((head - clean) & mask) + ((tail - head) & mask) == (tail - clean) & mask
    assert queue.waiting == (head - clean) & mask


def check_virtqueue_indices(queue: Queue) -> None:
    pair, added, seen = queue.pair, queue.field(VIRTIO_RX_ADDED), queue.field(VIRTIO_RX_SEEN)
    assert seen <= pair.vhost.rx_used == pair.vhost.rx_seen <= added <= seen + queue.size
    assert queue.waiting == pair.vhost.rx_used - seen


class AnyInterleaving(RuleBasedStateMachine):
    """Rules that both rings have in common; :meth:`open` makes the queue."""

    queue: Queue

    @rule(
        frames=st.integers(1, 200),
        gap_ns=st.sampled_from((0, 67, 1230, 50_000)),
        length=st.integers(64, 2048),
    )
    def frames_come(self, frames: int, gap_ns: int, length: int) -> None:
        self.queue.arrive(frames, gap_ns * 1000, length)

    @rule(ns=st.integers(1, 200_000))
    def time_passes(self, ns: int) -> None:
        self.queue.wait(ns * 1000)

    @rule()
    def the_device_catches_up(self) -> None:
        self.queue.act(DEVICE)

    @rule(packets=st.integers(1, 100))
    def the_driver_polls(self, packets: int) -> None:
        for _ in range(packets):
            self.queue.act(DRIVER)

    @rule()
    def the_driver_refills(self) -> None:
        self.queue.act(REFILL)

    @rule()
    def the_application_reads(self) -> None:
        self.queue.act(APPLICATION)

    @rule(order=st.sampled_from(("device-first", "undrained", "guest-first")))
    def the_guest_migrates(self, order: str) -> None:
        self.queue.migrate(order)

    @invariant()
    def head_and_tail_keep_their_order(self) -> None:
        check = check_vf_indices if self.queue.is_vf else check_virtqueue_indices
        check(self.queue)

    @invariant()
    def no_descriptor_is_taken_twice(self) -> None:
        pair = self.queue.pair
        assert (
            pair.oracle.rx_duplicated,
            pair.oracle.rx_phantom,
            pair.oracle.rx_corrupted,
            pair.oracle.lost_ring,
        ) == (0, 0, 0, 0)

    @invariant()
    def every_packet_is_delivered_lost_or_inside(self) -> None:
        pair = self.queue.pair
        assert pair.oracle.rx_offered == pair.oracle.rx_delivered + self.queue.lost + self.queue.inside

    def teardown(self) -> None:
        self.queue.run_dry()
        pair = self.queue.pair
        assert (pair.oracle.dma_faults, self.queue.inside) == (0, 0)
        assert pair.oracle.rx_offered == pair.oracle.rx_delivered + self.queue.lost


class ReceiveRing(AnyInterleaving):
    @initialize(
        strategy=st.sampled_from(
            (Untracked(), DummyWrite(), EmulatedIommu(), EmulatedIommu(mode="deferred", entries=8))
        ),
        size=st.sampled_from((64, 128)),
        reuse=st.sampled_from(("flip", "none")),
        mode=st.sampled_from(("build", "copybreak")),
        refill_batch=st.integers(1, 63),
        writeback_batch=st.integers(1, 32),
        hold_us=st.sampled_from((0, 20, 1000)),
        state=st.sampled_from(("sysfs", "self-emulated")),
    )
    def open(
        self,
        strategy: Any,
        size: int,
        reuse: str,
        mode: str,
        refill_batch: int,
        writeback_batch: int,
        hold_us: int,
        state: str,
    ) -> None:
        driver = Driver(rx_ring=size, tx_ring=64, page_reuse=reuse, rx_mode=mode, refill_batch=refill_batch)
        device = Device(writeback_batch=writeback_batch, interrupt_interval_ns=0)
        self.queue = Queue(strategy, driver, device, hold_us, state)


class Virtqueue(AnyInterleaving):
    @initialize(
        size=st.sampled_from((64, 256)),
        suppress=st.booleans(),
        refill_batch=st.integers(1, 63),
        hold_us=st.sampled_from((0, 20, 1000)),
    )
    def open(self, size: int, suppress: bool, refill_batch: int, hold_us: int) -> None:
        driver = Driver(rx_ring=64, tx_ring=64, refill_batch=refill_batch)
        strategy = VirtioNet(queue_size=size, suppress_kicks=suppress)
        self.queue = Queue(strategy, driver, Device(), hold_us)


TestAnyInterleavingOnTheReceiveRing = ReceiveRing.TestCase
TestAnyInterleavingOnTheReceiveRing.settings = SMALL
TestAnyInterleavingOnTheVirtqueue = Virtqueue.TestCase
TestAnyInterleavingOnTheVirtqueue.settings = SMALL


def small_ring(**changes: Any) -> Queue:
    return Queue(Untracked(), Driver(rx_ring=64, tx_ring=64, **changes), Device(interrupt_interval_ns=0))


@given(size=st.sampled_from(RING_SIZES), data=st.data())
@settings(max_examples=40, deadline=None)
def test_rotation_makes_the_head_entry_0_and_keeps_the_order(size: int, data: st.DataObject) -> None:
    head = data.draw(st.integers(0, size - 1))
    memory, base = Memory(1 << 17, 1 << 17), 4096
    cpu = np.zeros(1, CPU).view(np.recarray)[0]
    memory.attach(cpu)
    entries = np.arange(1, 2 * size + 1)
    memory.words[base >> 3 : (base >> 3) + 2 * size] = entries
    rotate_ring(cpu, base, size, head)
    assert np.array_equal(
        memory.words[base >> 3 : (base >> 3) + 2 * size],
        np.roll(entries.reshape(-1, 2), -head, axis=0).ravel(),
    )
    assert np.count_nonzero(memory.words) == 2 * size


@given(before=st.integers(0, 63), waiting=st.integers(0, 63))
@settings(max_examples=12, deadline=None)
def test_ring_restoration_keeps_every_packet_that_waited_in_the_ring(before: int, waiting: int) -> None:
    queue = small_ring(refill_batch=1)
    queue.arrive(before, 67_000)
    queue.run_dry()
    queue.arrive(waiting, 67_000)
    queue.wait(FOR_EVER_PS)
    queue.act(DEVICE)
    queue.pair.quiesce_requested = 1  # the driver leaves them where they are
    queue.migrate("undrained")
    assert (queue.pair.nic.rx_head, queue.field(NEXT_TO_CLEAN)) == (0, -waiting % 64)
    queue.run_dry()
    assert queue.pair.oracle.rx_delivered == before + waiting


@pytest.mark.parametrize("frames", [63, 64, 500])
def test_the_device_uses_all_descriptors_but_the_one_at_the_tail(frames: int) -> None:
    queue = small_ring()
    queue.arrive(frames, 67_000)
    queue.wait(FOR_EVER_PS)
    queue.act(DEVICE)
    assert queue.waiting == 63
    assert queue.pair.nic.rx_head == queue.pair.nic.register[RDT]
    assert queue.pair.oracle.lost_descriptor == frames - 63
    assert queue.pair.nic.fifo_tail == queue.pair.nic.fifo_head


def test_a_full_ring_is_emptied_in_the_order_in_which_it_was_filled() -> None:
    queue, order = small_ring(), []
    queue.arrive(63, 67_000)
    queue.wait(FOR_EVER_PS)
    queue.act(DEVICE)
    while queue.act(DRIVER) or not order:
        tail = queue.field(HELD_TAIL)
        order.append(int(queue.pair.oracle.held[(tail - 1) & 1023].sequence))
        queue.act(DEVICE)
    assert order[:63] == list(range(63))
