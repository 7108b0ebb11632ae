"""A virtio-net device as vhost-user's back end: the machine's vhost worker on one queue pair, with its dirty log."""

from __future__ import annotations

import os
from selectors import EVENT_READ, BaseSelector
from typing import TYPE_CHECKING, Any

from vfbench.machine.memory.words import load_word
from vfbench.machine.queue_pair import PATH_VIRTIO
from vfbench.machine.virtio.virtqueue import available_index, available_offset, used_index, used_offset
from vfbench.testbeds.qemu.server.dirty_log import DirtyLog
from vfbench.testbeds.qemu.vhost.connection import RX, TX, Backend, Region, VhostConnection

if TYPE_CHECKING:
    from collections.abc import Callable

INDEX_MASK = 0xFFFF


class VirtioDevice(Backend):
    """``pair`` and ``device`` are its records; it moves packets while both of its rings are started.

    ``adopt_memory`` maps the guest's memory by a descriptor of it. ValueError for rings that are not
    laid out as Linux lays them out: descriptors, available ring, used ring, one behind the other. ``driver_took`` is
    called with the time when the driver offers buffers anew.
    """

    def __init__(
        self,
        pair: Any,
        device: Any,
        log: DirtyLog,
        adopt_memory: Callable[[int], object],
        selector: BaseSelector,
        clock: Callable[[], int],
    ) -> None:
        self._pair, self.device, self._log = pair, device, log
        self._adopt_memory, self._selector, self._clock = adopt_memory, selector, clock
        self._running = [False, False]
        self.connection: VhostConnection | None = None
        self.driver_took: Callable[[int], object] = int
        self._offered = 0
        self.kicks = self.interrupts = 0
        pair.path = PATH_VIRTIO

    def log_given(self, log: Any, regions: tuple[Region, ...]) -> None:
        self._log.adopt(log, regions)

    def memory_given(self, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            self._adopt_memory(descriptor)

    def ring_started(self, ring: int) -> None:
        if self.connection is None or not self.connection.state.vrings[ring].descriptors:
            return
        state = self.connection.state.vrings[ring]
        offset = self.connection.offset_of(state.descriptors)
        self._check_layout(state.size, state.descriptors, state.available, state.used)
        used = load_word(int(self.device.guest_ram), used_index(offset, state.size) >> 3)
        used = used >> 8 * (used_index(offset, state.size) & 7) & INDEX_MASK
        self.device.virtqueue_size = state.size
        if ring == RX:
            self.device.rx_queue = offset
            self._pair.vhost.rx_seen, self._pair.vhost.rx_used = state.seen, used
        else:
            self.device.tx_queue = offset
            self._pair.vhost.tx_seen, self._pair.vhost.tx_used = state.seen, used
            self._pair.vhost.tx_sleeps = 0
        self._pair.vhost.rx_ready_ps = self._pair.vhost.tx_ready_ps = 0
        self._running[ring] = True
        self._pair.enabled = int(all(self._running))

    def ring_stopped(self, ring: int) -> int | None:
        """What waits in front of the worker is lost with its device."""
        pair = self._pair
        if self._running[ring]:
            pair.oracle.lost_reset += pair.nic.fifo_tail - pair.nic.fifo_head
            pair.nic.fifo_head, pair.nic.fifo_bytes = pair.nic.fifo_tail, 0
        running, self._running[ring] = self._running[ring], False
        pair.enabled = 0
        if not running:
            return None
        return int(pair.vhost.rx_seen if ring == RX else pair.vhost.tx_seen)

    def kick_changed(self, ring: int, old: int | None, new: int | None) -> None:
        if old is not None:
            self._selector.unregister(old)
        if new is not None:
            self._selector.register(new, EVENT_READ, lambda: self._kicked(ring, new))

    def send_interrupts(self, now_ps: int) -> None:
        """What the worker has asked for by now."""
        pair = self._pair
        if self.connection is None:
            return
        self._watch_offers(now_ps)
        if pair.interrupt_pending and pair.interrupt_ps <= now_ps:
            pair.interrupt_pending = 0
            self._interrupt(RX)
        if pair.tx_interrupt_pending and pair.tx_interrupt_ps <= now_ps:
            pair.tx_interrupt_pending = 0
            self._interrupt(TX)

    def stop(self) -> None:
        """Move nothing from now on; what waits is lost."""
        pair = self._pair
        pair.enabled = 0
        pair.oracle.lost_reset += pair.nic.fifo_tail - pair.nic.fifo_head
        pair.nic.fifo_head, pair.nic.fifo_bytes = pair.nic.fifo_tail, 0

    def gone(self) -> None:
        """QEMU hung up."""
        self._running = [False, False]
        self._pair.enabled = 0
        self.connection = None
        self._log.adopt(None, ())

    def _watch_offers(self, now_ps: int) -> None:
        """The driver offers buffers when it has taken packets: the peer's measure of whether the guest goes on."""
        if not self._running[RX]:
            return
        address = available_index(int(self.device.rx_queue), int(self.device.virtqueue_size))
        word = load_word(int(self.device.guest_ram), address >> 3)
        offered = word >> 8 * (address & 7) & INDEX_MASK
        if offered != self._offered:
            self._offered = offered
            self.driver_took(now_ps)

    def _interrupt(self, ring: int) -> None:
        if self.connection is not None:
            self.interrupts += 1
            self.connection.interrupt(ring)

    def _kicked(self, ring: int, kick: int) -> None:
        try:
            os.read(kick, 8)
        except BlockingIOError:
            return
        self.kicks += 1
        if ring == TX:
            self._pair.vhost.tx_sleeps = 0
            self._pair.vhost.tx_ready_ps = self._clock()
        else:
            self._pair.vhost.rx_ready_ps = self._clock()

    @staticmethod
    def _check_layout(size: int, descriptors: int, available: int, used: int) -> None:
        wanted = (descriptors + available_offset(size), descriptors + used_offset(size))
        if (available, used) != wanted:
            raise ValueError(
                f"a ring of {size} with parts at {descriptors:#x}, {available:#x}, {used:#x}, which Linux does not do"
            )
