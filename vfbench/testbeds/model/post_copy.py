"""Post-copy on the modelled machine: which pages are absent, who waits for one how long, and the background stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfbench.machine.driver.state import HELD_HEAD, HELD_TAIL
from vfbench.machine.memory.guest_memory import BLOCKS_PER_PAGE, PAGE_SHIFT, WORDS_PER_PAGE, Memory
from vfbench.machine.oracle.oracle import NOTHING
from vfbench.mechanism import Postponing
from vfbench.migration.comparison import Comparison, compare
from vfbench.testbeds.model.view import ModelView

if TYPE_CHECKING:
    from vfbench.mechanism import Pages
    from vfbench.testbeds.model.machine import Machine
    from vfbench.testbeds.model.sender import ModelSender

LOST_SHARE = 0.9
"""Of what was postponed, so much is lost where the source dies."""
STEP_PS = 10**9
"""How often the queue in front of a request is re-measured, and what was fetched is counted."""


class PostCopy:
    """The part of a migration that comes after the guest runs again; one for each migration that has one."""

    def __init__(self, machine: Machine, sender: ModelSender) -> None:
        found = machine.experiment.strategy.mechanisms
        self._slot = next(i for i, each in enumerate(found) if isinstance(each, Postponing))
        self._mechanism = next(each for each in found if isinstance(each, Postponing))
        self._machine, self._sender = machine, sender
        self._source = machine.memory
        self._ahead = 0
        self._lost = 0

    def send_ahead(self) -> None:
        """In the stop: everything is pending, and what may not be absent goes now."""
        self._sender.postpone_all()
        ahead = self._mechanism.ahead(ModelView(self._machine, self._slot))
        self._ahead = int(np.count_nonzero(ahead))
        self._sender.send_now(ahead)

    def begin(self) -> None:
        """The guest is about to run on what has come: the rest is absent."""
        self._arrived = Memory(self._source.structure_bytes, self._source.backed_bytes)
        self._arrived.words[:] = self._sender.target.words
        self._absent = self._sender.pending.copy()
        for cpu in self._machine.cpus:
            cpu.absent = self._sender.pending.ctypes.data
            cpu.absent_source = self._source.words.ctypes.data
        self._set_waits()

    def fetch_rest(self) -> Comparison:
        """Send what is absent, in the order of addresses, beside what is asked for; what both memories hold then."""
        last_bytes = round(LOST_SHARE * self._sender.pending_bytes)
        while self._sender.pending_bytes:
            if self._mechanism.loses_source and self._sender.pending_bytes <= last_bytes:
                self._lose_source()
                break
            self._sender.send_until(self._machine.now_ps + STEP_PS)
            self._sender.note_fetched()
            self._set_waits()
        self._count()
        for cpu in self._machine.cpus:
            cpu.absent = 0
        return self._compared()

    def _set_waits(self) -> None:
        """A request waits behind the background that is queued before it, for the line, and for both ends."""
        machine, sender = self._machine, self._sender
        line_ps_per_byte = 8e12 / machine.experiment.migration.line_rate_bps
        queue = self._mechanism.queue_cost
        queued_bytes = min(machine.profile.value(queue), sender.pending_bytes) if queue else 0
        on_line_ps = round(queued_bytes * line_ps_per_byte) + sender.page_ps
        vcpu, device = self._mechanism.fault_costs
        for cpu in machine.cpus:
            cpu.absent_wait_ps = machine.ps(vcpu) + on_line_ps
            cpu.absent_device_wait_ps = machine.ps(device) + on_line_ps if device else 0

    def _lose_source(self) -> None:
        """The guest stands still at its next access to an absent page; that is taken to be at once."""
        for q, pair in enumerate(self._machine.pairs):
            pair.paused, pair.enabled = 1, 0
            pair.oracle.lost_reset += self._held(q, pair)
        self._machine.engine.writer_paused = 1
        self._lost = self._sender.pending_bytes >> PAGE_SHIFT

    def _held(self, queue: int, pair: Any) -> int:
        """Packets that the application had taken and not read yet: they are lost with it."""
        driver = self._machine.layout.queues[queue].driver.base
        absent = self._sender.pending[driver >> PAGE_SHIFT]
        words = (self._source if absent else self._machine.memory).words
        head, tail = int(words[(driver + HELD_HEAD) >> 3]), int(words[(driver + HELD_TAIL) >> 3])
        held = pair.oracle.held["sequence"][np.arange(head, tail) & (len(pair.oracle.held) - 1)]
        return int(np.count_nonzero(held != NOTHING))

    def _count(self) -> None:
        cpus = self._machine.cpus
        counts = self._machine.host_structures.by_slot[self._slot]["counts"]
        counts[:] = (
            cpus.absent_faults.sum(),
            cpus.absent_device_faults.sum(),
            cpus.absent_device_strays.sum(),
            self._ahead,
            self._lost,
        )

    def _compared(self) -> Comparison:
        """Pages as they were when they came; those that never came are none of the source's."""
        came = self._words((self._absent != 0) & (self._sender.pending == 0))
        self._arrived.words[came] = self._source.words[came]
        lost = self._words(self._sender.pending != 0)
        self._arrived.words[lost] = ~self._source.words[lost]
        return compare(self._source, self._arrived, self._machine.layout)

    def _words(self, pages: Pages) -> npt.NDArray[np.bool_]:
        """The words of some pages."""
        first_block_page = self._source.structure_bytes >> PAGE_SHIFT
        return np.concatenate(
            [
                np.repeat(pages[:first_block_page], WORDS_PER_PAGE),
                np.repeat(pages[first_block_page:], BLOCKS_PER_PAGE),
            ]
        )
