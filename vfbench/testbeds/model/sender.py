"""The source's side of the stream: which pages are pending, and sending them at the line's speed in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfbench.machine.memory.guest_memory import (
    CPU_WROTE,
    DEVICE_WROTE,
    LOGGED,
    MAPPED,
    MAPPED_WRITTEN,
    PAGE_SHIFT,
    Memory,
)
from vfbench.migration.channels import page_times
from vfbench.migration.precopy import Sync
from vfbench.testbeds.model.transfer import TRANSFER, send_page, send_until

if TYPE_CHECKING:
    from vfbench.mechanism import Found
    from vfbench.testbeds.binding import Sources
    from vfbench.testbeds.model.machine import Machine
    from vfbench.testbeds.model.timeline import Timeline

REST_STEP_PS = 10**12
NO_LIMIT_BYTES = 1 << 62


class ModelSender:
    """`vfbench.migration.precopy.Sender` over the modelled memory and its dirty log."""

    def __init__(self, machine: Machine, timeline: Timeline, sources: Sources) -> None:
        self._machine = machine
        self._sources = sources
        self._timeline = timeline
        self._times = page_times(machine.profile, machine.experiment.migration)
        self._page_bytes = self._times.page_bytes
        self._zero_saves_bytes = self._times.page_bytes - self._times.zero_bytes
        self.target = Memory(machine.memory.structure_bytes, machine.memory.backed_bytes)
        """The destination's memory: what each page held at the instant of its last copy."""
        self._pending = np.zeros(machine.memory.pages, dtype=np.uint8)
        self._sent_before = np.zeros(machine.memory.pages, dtype=np.uint8)
        self._transfer = self._new_transfer()
        self._zeros_at_sync = 0
        self.mapped_unwritten_pages = 0
        """Pages that were or are mapped for the device to write, and that it did not write."""

    @property
    def now_ps(self) -> int:
        return self._machine.now_ps

    @property
    def sent_pages(self) -> int:
        return int(self._transfer.sent_pages)

    @property
    def sent_bytes(self) -> int:
        return self.sent_pages * self._page_bytes - int(self._transfer.sent_zeros) * self._zero_saves_bytes

    @property
    def resent_bytes(self) -> int:
        resent, zeros = int(self._transfer.resent_pages), int(self._transfer.resent_zeros)
        return resent * self._page_bytes - zeros * self._zero_saves_bytes

    @property
    def zero_pages(self) -> int | None:
        """Of the pages sent, those that went as headers; None where nobody looks for zeros."""
        return int(self._transfer.sent_zeros) if self._times.detects_zeros else None

    @property
    def pending_bytes(self) -> int:
        return int(self._transfer.pending_pages + self._transfer.cold_pages) << PAGE_SHIFT

    @property
    def skips_mapped(self) -> bool:
        """Whether pages known to be mapped for the device wait until they are unmapped."""
        return bool(self._transfer.skips_mapped)

    @skips_mapped.setter
    def skips_mapped(self, skips: bool) -> None:
        self._transfer.skips_mapped = int(skips)

    @property
    def held_back_pages(self) -> int:
        """Pages known to be mapped for the device, where the strategy wants them to wait."""
        return int(np.count_nonzero(self._machine.memory.marks & MAPPED)) if self.skips_mapped else 0

    def postpone_all(self) -> None:
        """Everything is pending, and nobody need know what is written."""
        self._set_pending(np.ones(len(self._pending), np.bool_))
        self._set_cold_pending()

    def start_log(self) -> None:
        self._pending[:] = 1
        self._transfer.pending_pages = len(self._pending)
        self._set_cold_pending()
        self._set_logging(1)
        self._timeline.advance(self.now_ps + self._log_start_ps())
        self._clear_log()

    @property
    def pending(self) -> npt.NDArray[np.uint8]:
        """One for each backed page that is known to be dirty and was not sent since."""
        return self._pending

    @property
    def page_ps(self) -> int:
        """How long a page takes on its way."""
        return int(self._transfer.page_ps)

    def send_now(self, pages: npt.NDArray[np.bool_]) -> None:
        """These pages go, as they are, and time passes as they do."""
        self._timeline.advance(self.now_ps + self._send_at_once(pages))

    def note_fetched(self) -> None:
        """Pages that were asked for have gone: they took the line as well."""
        left = int(np.count_nonzero(self._pending))
        fetched = int(self._transfer.pending_pages) - left
        self._transfer.sent_pages += fetched
        self._transfer.pending_pages = left
        self._timeline.advance(self.now_ps + fetched * self.page_ps)

    def stop_log(self) -> None:
        """The migration is over, one way or the other."""
        self._set_logging(0)

    def sync_log(self) -> Sync:
        """Source: ``ramblock_sync_dirty_bitmap``: what the log holds becomes pending, and the log starts anew."""
        began_ps = self.now_ps
        logged, found = self._dirty(last=False)
        written = self._timeline.written_since_sync
        unwritten = int(self._machine.cpus.unwritten_unmaps.sum())
        self._set_pending(logged)
        # Pages that nobody touches are not held here; a source that calls all memory dirty means them, too.
        cold_pages = self._machine.layout.cold_pages if found.everything else 0
        result = (
            int(np.count_nonzero(logged)) + cold_pages,
            int(np.count_nonzero(logged & (written & CPU_WROTE != 0))),
            int(np.count_nonzero(logged & (written & DEVICE_WROTE != 0))),
            unwritten - self.mapped_unwritten_pages,
        )
        self.mapped_unwritten_pages = unwritten
        held_back = self.held_back_pages
        self._clear_log()
        self._spend_sync(result[0], self._clear_ps(logged), found)
        return Sync(*result, held_back, self.now_ps - began_ps, self._zeros_since_sync())

    def final_sync(self) -> None:
        """The last sync: what is still mapped is dirty too."""
        marks = self._machine.memory.marks
        self.mapped_unwritten_pages += int(np.count_nonzero(marks & (MAPPED | MAPPED_WRITTEN) == MAPPED))
        own_pages = int(np.count_nonzero(self._logged()))
        logged, found = self._dirty(last=True)
        self._set_pending(logged)
        self._clear_log()
        self._spend_sync(own_pages, self._clear_ps(logged), found)
        self.skips_mapped = False

    def send_until(self, until_ps: int, most_bytes: int | None = None) -> bool:
        if self._times.detects_zeros:
            return self._send_by_size(until_ps, most_bytes)
        if most_bytes is not None:
            pages = -(-most_bytes // self._page_bytes)
            until_ps = min(until_ps, self.now_ps + pages * int(self._transfer.page_ps))
        if self.now_ps >= until_ps:
            return True
        return self._send_until(until_ps)

    def _send_by_size(self, until_ps: int, most_bytes: int | None) -> bool:
        """Pages of different sizes: the kernel counts what has gone, and stops when there is no more room."""
        self._transfer.room_bytes = NO_LIMIT_BYTES if most_bytes is None else most_bytes
        going_on = self.now_ps >= until_ps or self._send_until(until_ps)
        out_of_room = int(self._transfer.room_bytes) <= 0
        self._transfer.room_bytes = NO_LIMIT_BYTES
        return going_on or (out_of_room and self.pending_bytes > 0)

    def _send_until(self, until_ps: int) -> bool:
        machine = self._machine

        def step(target_ps: int) -> bool:
            return bool(
                send_until(
                    self._transfer,
                    machine.engine,
                    machine.cpus,
                    machine.pairs,
                    machine.applications,
                    machine.source,
                    machine.frames,
                    target_ps,
                )
            )

        return self._timeline.advance(until_ps, step)

    def send_all(self) -> None:
        """Whatever is pending, with no limit but the line."""
        while self.send_until(self.now_ps + REST_STEP_PS):
            pass

    def wait_until(self, until_ps: int) -> None:
        self._timeline.advance(until_ps)

    def _new_transfer(self) -> Any:
        machine, transfer = self._machine, np.zeros(1, dtype=TRANSFER).view(np.recarray)[0]
        transfer.source_words = machine.memory.words.ctypes.data
        transfer.source_marks = machine.memory.marks.ctypes.data
        transfer.target_words = self.target.words.ctypes.data
        transfer.pending = self._pending.ctypes.data
        transfer.sent_before = self._sent_before.ctypes.data
        transfer.structure_bytes = machine.memory.structure_bytes
        transfer.pages = machine.memory.pages
        times = self._times
        transfer.page_ps, transfer.page_bytes = times.page_ps, times.page_bytes
        transfer.zero_ps, transfer.zero_bytes = times.zero_ps, times.zero_bytes
        transfer.detects_zeros = int(times.detects_zeros)
        transfer.room_bytes = NO_LIMIT_BYTES
        return transfer

    def _zeros_since_sync(self) -> int | None:
        zeros = self.zero_pages
        if zeros is None:
            return None
        since, self._zeros_at_sync = zeros - self._zeros_at_sync, zeros
        return since

    def _set_cold_pending(self) -> None:
        """Memory without contents here is to be sent, the part that holds zeros last."""
        machine, transfer = self._machine, self._transfer
        zeros = machine.experiment.guest.zero_memory_bytes >> PAGE_SHIFT
        transfer.cold_pages = machine.layout.cold_pages
        transfer.cold_zeros = min(zeros, machine.layout.cold_pages) * int(transfer.detects_zeros)

    def _logged(self) -> npt.NDArray[np.bool_]:
        self._timeline.harvest()
        logged: npt.NDArray[np.bool_] = self._machine.memory.marks & LOGGED != 0
        return logged

    def _dirty(self, last: bool) -> tuple[npt.NDArray[np.bool_], Found]:
        """Pages that KVM's log or another source knows to be dirty, and what the others found."""
        logged, found = self._logged(), self._sources.sync(last)
        if found.everything:
            logged = np.ones_like(logged)
            self._set_cold_pending()
        elif found.dirty is not None:
            logged = logged | found.dirty
        return logged, found

    def _send_at_once(self, pages: npt.NDArray[np.bool_]) -> int:
        """Pages go as they are now; returns the time that they take on the line, which passes after that."""
        self._set_pending(pages)
        return sum(send_page(self._transfer, int(page)) for page in np.flatnonzero(pages))

    def _set_pending(self, pages: npt.NDArray[np.bool_]) -> None:
        self._pending |= pages
        self._transfer.pending_pages = int(np.count_nonzero(self._pending))

    def _set_logging(self, on: int) -> None:
        for cpu in self._machine.cpus:
            cpu.logging = on

    def _clear_log(self) -> None:
        self._machine.memory.marks &= 0xFF ^ LOGGED
        self._timeline.written_since_sync[:] = 0

    def _log_start_ps(self) -> int:
        """``memory_global_dirty_log_start``: the migration thread's time; the guest runs on.

        With the log cleared by hand its bits all begin set, and the first round clears each chunk.
        """
        machine = self._machine
        gib = machine.layout.memory_bytes / (1 << 30)
        per_gib_ps = machine.ps("log_start_per_gib") + machine.ps("log_split_per_gib")
        return round(gib * per_gib_ps) + self._clear_ps(
            np.ones(machine.layout.memory_bytes >> PAGE_SHIFT, np.bool_)
        )

    def _clear_ps(self, dirty: npt.NDArray[np.bool_]) -> int:
        """``KVM_CLEAR_DIRTY_LOG``, once for each chunk that holds a dirty page, its pages apart; 0 without it.

        Source: QEMU, migration/ram.c (``migration_clear_memory_region_dirty_bitmap``).
        """
        profile = self._machine.profile
        if "log_clear_chunk" not in profile.figures:
            return 0
        chunk_pages = int(profile.value("log_clear_chunk")) >> PAGE_SHIFT
        chunks = len(np.unique(np.flatnonzero(dirty) // chunk_pages))
        return chunks * self._machine.ps("log_clear_call")

    def _spend_sync(self, dirty_pages: int, clear_ps: int, found: Found) -> None:
        sources_ps = found.time_ps + (0 if found.at_once is None else self._send_at_once(found.at_once))
        gib = self._machine.layout.memory_bytes / (1 << 30)
        walk_ps = round(gib * self._machine.ps("log_sync_per_gib"))
        pages_ps = dirty_pages * self._machine.ps("log_sync_per_page")
        self._timeline.advance(self.now_ps + walk_ps + pages_ps + clear_ps + sources_ps)
