"""The verbs of a migration, carried out on the modelled machine, each with the time that it takes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfbench.kernels import kernel
from vfbench.machine.cpu import sleep_until
from vfbench.machine.driver.quiesce import quiesce
from vfbench.machine.driver.state import REGISTER_MIRROR
from vfbench.machine.driver.vf_open import close_vf, open_vf, restore_rings
from vfbench.machine.hooks import run_hooks
from vfbench.machine.memory.absent import await_page
from vfbench.machine.memory.guest_memory import MAPPED
from vfbench.machine.oracle.part_words import part_bytes
from vfbench.machine.queue_pair import PATH_RELAY, PATH_VDPA, PATH_VF, PATH_VIRTIO
from vfbench.machine.slots import ARMED, DISARMED
from vfbench.machine.vf.register_access import reset_registers, set_register
from vfbench.machine.vf.registers import QUEUE_ENABLE, READ_ONLY, RXDCTL, TXDCTL
from vfbench.machine.virtio.vdpa import finish_relay
from vfbench.mechanism import Backend
from vfbench.migration.comparison import Comparison, compare
from vfbench.migration.precopy import NotConverged, Precopy, precopy_of
from vfbench.migration.vf_state import StateCost, driver_state_cost, state_cost
from vfbench.strategy import backends
from vfbench.testbeds.binding import Sources
from vfbench.testbeds.model.post_copy import PostCopy
from vfbench.testbeds.model.sender import ModelSender
from vfbench.testbeds.model.view import ModelView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vfbench.testbeds.model.machine import Machine
    from vfbench.testbeds.model.timeline import Timeline

DRAIN_STEP_PS = 10**6
LONGEST_DRAIN_PS = 10**12

PARTS = ("quiesce", "emulator", "final_sync", "final_copy", "state_transfer", "remap", "restore", "announce")


@kernel
def set_tracking(cpu: Any, point: int) -> None:
    """The guest learns that tracking begins (ARMED) or ends (DISARMED)."""
    run_hooks(cpu, point)


class ModelMigration:
    """One migration of one machine."""

    def __init__(self, machine: Machine, timeline: Timeline) -> None:
        self._machine = machine
        self._timeline = timeline
        self.sources = Sources(machine.experiment.strategy.mechanisms, lambda slot: ModelView(machine, slot))
        self.sender = ModelSender(machine, timeline, self.sources)
        self._saved: list[tuple[npt.NDArray[np.int64], int, int]] = []
        self._stopped_ps: int | None = None
        self._paused_ps: int | None = None
        self.started_ps = machine.now_ps
        self.resumed_ps: int | None = None
        self.ended_ps: int | None = None
        """When all memory was there, where the guest ran before."""
        self._post_copy: PostCopy | None = None
        self.part_ps = dict.fromkeys(PARTS, 0)
        self.vcpu_pause_ps: int | None = None
        self.precopy: Precopy | None = None
        self.comparison: Comparison | None = None
        self.residual_pages: int | None = None

    @property
    def now_ps(self) -> int:
        return self._machine.now_ps

    @property
    def downtime_ps(self) -> int:
        return sum(self.part_ps.values())

    # -- the verbs

    def arm_tracking(self) -> None:
        for cpu in self._queue_cpus():
            sleep_until(cpu, self.now_ps)
            set_tracking(cpu, ARMED)
        self._spend(self.sources.arm())

    def disarm_tracking(self) -> None:
        for cpu in self._queue_cpus():
            set_tracking(cpu, DISARMED)
        self._spend(self.sources.disarm())

    def pre_copy(self) -> None:
        self.sender.skips_mapped = self.sources.withholds_mapped
        settings = self._machine.experiment.migration
        self.precopy = precopy_of(settings, self.sender, self._timeline.throttle.set)
        self.precopy.run()

    def shrink_rest(self) -> None:
        if self.precopy is not None:
            self.precopy.shrink()

    def notify_driver(self) -> None:
        with self._part("quiesce"):
            self._begin_stop()
            self._spend(self._ps("mailbox_round_trip") + self._ps("interrupt_injection"))
            for pair in self._machine.pairs:
                pair.quiesce_requested = 1

    def stop_device(self) -> None:
        with self._part("quiesce"):
            self._begin_stop()
            self._spend(self._ps("device_stop"))
            for pair in self._machine.pairs:
                pair.enabled = 0
                self._machine.empty_fifo(pair)
            self._finish_frames()
            for pair in self._machine.pairs:
                if pair.nic.unwritten:
                    # A descriptor that was never written back is nobody's: its packet is gone with the device.
                    self._forget_unwritten(pair)

            self._finish_relay()

    def drain(self) -> None:
        with self._part("quiesce"):
            self._drain()

    def pause_guest(self) -> None:
        with self._part("quiesce"):
            self._begin_stop()
            self._spend(self._ps("guest_pause"))
            self._timeline.throttle.stop()
            self._paused_ps = self.now_ps
            for pair in self._machine.pairs:
                pair.paused = 1
            self._machine.engine.writer_paused = 1
        with self._part("emulator"):
            self._spend(self._ps("emulator_stop"))

    def copy_rest(self) -> None:
        with self._part("final_sync"):
            self.residual_pages = self.sender.held_back_pages
            self.sender.final_sync()
        with self._part("final_copy"):
            self.sender.send_all()

    def postpone_rest(self) -> None:
        self._post_copy = PostCopy(self._machine, self.sender)
        with self._part("final_copy"):
            self._post_copy.send_ahead()

    def fetch_rest(self) -> None:
        if self._post_copy is not None:
            self.comparison = self._post_copy.fetch_rest()
        self.ended_ps = self.now_ps

    def transfer_vf_state(self) -> None:
        cost = self._state_cost()
        with self._part("state_transfer"):
            self._saved = [
                (np.array(p.nic.register), int(p.nic.rx_head), int(p.nic.tx_head))
                for p in self._machine.pairs
            ]
            self._spend(cost.save_ps)
        self._move()
        with self._part("restore"):
            self._spend(cost.restore_ps)
            for q, pair in enumerate(self._machine.pairs):
                reset_registers(pair)
                self._restore_registers(pair, self._saved_registers(q))

    def restore_rings(self) -> None:
        self._move()
        with self._part("restore"):
            for cpu, pair, (_, rx_head, tx_head) in zip(
                self._queue_cpus(), self._machine.pairs, self._saved, strict=True
            ):
                sleep_until(cpu, self.now_ps)
                restore_rings(cpu, pair, rx_head, tx_head)
                self._rotate_slots(pair, rx_head)
            self._spend(max(int(cpu.clock_ps) for cpu in self._queue_cpus()) - self.now_ps)

    def resume(self) -> None:
        self._move()
        with self._part("emulator"):
            self._spend(self._ps("emulator_start"))
        with self._part("restore"):
            self._spend(self._ps("guest_resume"))
        self.resumed_ps = self.now_ps
        if self._paused_ps is not None:
            self.vcpu_pause_ps = self.now_ps - self._paused_ps
        self.part_ps["announce"] = self._ps("announce_first") + self._ps("switch_learn")
        for cpu in self._machine.cpus:
            sleep_until(cpu, self.now_ps)
        for pair in self._machine.pairs:
            pair.paused = pair.quiesce_requested = 0
            pair.enabled = 1
            pair.polling = 1
            pair.admits_from_ps = self.now_ps + self.part_ps["announce"]
            # What waits in the rings is worked on from now on, and not from when their tails were written.
            pair.nic.rx_free_ps = max(int(pair.nic.rx_free_ps), self.now_ps)
            pair.nic.tx_free_ps = max(int(pair.nic.tx_free_ps), self.now_ps)
            pair.vhost.clock_ps = max(int(pair.vhost.clock_ps), self.now_ps)
        self._machine.engine.writer_paused = 0
        self.sender.stop_log()
        self._timeline.phase = "after"

    def unplug_vf(self) -> None:
        if self._vf().refuses_unplug:
            self._spend(self._ps("unplug_cancel"))
            raise NotConverged(
                "the guest did not give its VF up: the migration was cancelled, and the guest stays"
            )
        for pair in self._machine.pairs:
            pair.enabled = 0
            self._machine.empty_fifo(pair)
        self._finish_frames()
        self._drain()
        self._close_vf()
        self._machine.set_path(PATH_VIRTIO)
        self._admit_after("bond_failover")
        self._spend(self._until_polled(self._ps(self._vf().unplug_costs[0])))

    def switch_to(self, backend: str) -> None:
        if self._stopped_ps is None:
            self._switch(backend)
            self._admit_after("")
            return
        self._move()
        with self._part("restore"):
            self._switch(backend)

    def plug_vf(self) -> None:
        link_watch = self._vf().unplug_costs[1]
        self._spend(self._ps("vf_hot_plug") + self._ps(link_watch))
        for cpu, pair in zip(self._queue_cpus(), self._machine.pairs, strict=True):
            reset_registers(pair)
            sleep_until(cpu, self.now_ps)
            open_vf(cpu, pair)
        # What the standby still brings would keep the driver polling for ever.
        for pair in self._machine.pairs:
            pair.enabled = 0
        self._drain()
        self._machine.set_path(PATH_VF)
        self._admit_after("bond_failover")

    def cancel(self) -> None:
        """As after migrate_cancel: the guest stays where it is."""
        self._timeline.throttle.stop()
        self.sender.stop_log()
        self._timeline.phase = "after"

    # -- what the verbs are made of

    def _ps(self, cost: str) -> int:
        """A cost's picoseconds; 0 for no cost."""
        return self._machine.ps(cost) if cost else 0

    def _queue_cpus(self) -> list[Any]:
        return list(self._machine.cpus[: self._machine.queues])

    def _spend(self, length_ps: int) -> None:
        self._timeline.advance(self.now_ps + length_ps)

    def _begin_stop(self) -> None:
        if self._stopped_ps is None:
            self._stopped_ps = self.now_ps
            self._timeline.phase = "blackout"

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        began_ps = self.now_ps
        yield
        self.part_ps[name] += self.now_ps - began_ps

    def _forget_unwritten(self, pair: Any) -> None:
        size = int(self._machine.experiment.driver.rx_ring)
        for i in range(int(pair.nic.unwritten)):
            slot = (int(pair.nic.rx_head) - 1 - i) % size
            pair.oracle.lost_reset += pair.oracle.slot[slot].pending
            pair.oracle.slot[slot].pending = 0
            pair.oracle.slot[slot].length = part_bytes(int(pair.oracle.slot[slot].length))
        pair.nic.rx_head = (int(pair.nic.rx_head) - int(pair.nic.unwritten)) % size
        pair.nic.unwritten = 0
        pair.nic.write_back_due_ps = np.iinfo(np.int64).max // 2

    def _finish_frames(self) -> None:
        """The card ends what it has begun to cut, or to write, though told to stop (datasheet 4.6.7, 4.6.8)."""
        limit_ps, pairs = self.now_ps + LONGEST_DRAIN_PS, self._machine.pairs
        while (any(pairs.nic.tx_left) or any(pairs.nic.rx_taken)) and self.now_ps < limit_ps:
            self._spend(DRAIN_STEP_PS)

    def _drain(self) -> None:
        """The driver polls until it finds nothing more; the device is stopped, so that is soon."""
        quiesce_requested = self._machine.pairs.quiesce_requested.copy()
        for pair in self._machine.pairs:
            pair.polling, pair.quiesce_requested = 1, 0
        limit_ps = self.now_ps + LONGEST_DRAIN_PS
        while any(self._machine.pairs.polling) and self.now_ps < limit_ps:
            self._spend(DRAIN_STEP_PS)
        self._machine.pairs.quiesce_requested = quiesce_requested
        for cpu, pair in zip(self._queue_cpus(), self._machine.pairs, strict=True):
            quiesce(cpu, pair)
        self._spend(max(0, max(int(cpu.clock_ps) for cpu in self._queue_cpus()) - self.now_ps))

    def _until_polled(self, took_ps: int) -> int:
        """The source looks every so often whether the VF is gone, first after one interval."""
        poll_ps = self._ps("unplug_poll")
        return -(-took_ps // poll_ps) * poll_ps if poll_ps else took_ps

    def _close_vf(self) -> None:
        for cpu, pair in zip(self._queue_cpus(), self._machine.pairs, strict=True):
            close_vf(cpu, pair)
            quiesce(cpu, pair)

    def _switch(self, backend: str) -> None:
        """Suspend what serves now, if it is not stopped yet, and start the other, queue by queue."""
        known = {each.name: each for each in backends(self._machine.experiment.strategy)}
        serving = next(each for each in known.values() if each.path == self._machine.pairs[0].path)
        queues, suspended = self._machine.queues, not any(self._machine.pairs.enabled)
        for pair in self._machine.pairs:
            pair.enabled = 0
        if not suspended:
            self._spend(queues * self._ps(serving.switch_costs[0]))
            self._finish_relay()
        self._machine.set_path(known[backend].path)
        pinned_gib = known[backend].memory_pins * self._machine.layout.memory_bytes / (1 << 30)
        self._spend(round(pinned_gib * self._ps("memory_pin_per_gib")))
        self._spend(queues * self._ps(known[backend].switch_costs[1]))

    def _finish_relay(self) -> None:
        """A relay in front of a device that was suspended passes back what the device has done."""
        if self._machine.pairs[0].path not in (PATH_VDPA, PATH_RELAY):
            return
        done_ps = [
            finish_relay(cpu, pair, self.now_ps)
            for cpu, pair in zip(self._queue_cpus(), self._machine.pairs, strict=True)
        ]
        self._spend(max(done_ps) - self.now_ps)

    def _admit_after(self, cost: str) -> None:
        for pair in self._machine.pairs:
            pair.enabled = 1
            pair.admits_from_ps = self.now_ps + self._ps(cost)

    def _move(self) -> None:
        """The first thing that happens at the destination: from here on the guest runs on the copy."""
        if self._machine.memory is self.sender.target:
            return
        self._timeline.harvest()
        if self._post_copy is None:
            self.comparison = compare(self._machine.memory, self.sender.target, self._machine.layout)
        self._remap(int(np.count_nonzero(self._machine.memory.marks & MAPPED)))
        self.sender.target.marks[:] = 0
        self._machine.move_to(self.sender.target)
        if self._post_copy is not None:
            self._post_copy.begin()

    def _vf(self) -> Backend:
        """The backend that can be unplugged."""
        return next(each for each in backends(self._machine.experiment.strategy) if each.path == PATH_VF)

    def _state_cost(self) -> StateCost:
        machine, settings = self._machine, self._machine.experiment.migration
        state = backends(machine.experiment.strategy)[0].device_state
        if state is not None:
            return driver_state_cost(machine.profile, state, settings.line_rate_bps)
        return state_cost(machine.profile, machine.queues, settings.vf_state == "self-emulated")

    def _remap(self, pages: int) -> None:
        """The destination maps anew, one by one, what the guest has mapped behind an IOMMU that it sees."""
        if pages and any(each.owns_iova for each in self._machine.experiment.strategy.mechanisms):
            began_ps = self.now_ps
            self._spend(pages * self._ps("remap_page"))
            self.part_ps["remap"] += self.now_ps - began_ps

    def _saved_registers(self, q: int) -> npt.NDArray[np.int64]:
        if self._machine.experiment.migration.vf_state == "sysfs":
            return self._saved[q][0]
        mirror, count = self._machine.layout.queues[q].driver.base + REGISTER_MIRROR, len(self._saved[q][0])
        for address in (mirror, mirror + 8 * count - 1):
            await_page(self._machine.cpus[q], address)  # of a memory that has been left behind it is fetched
        return self._machine.memory.words[mirror >> 3 : (mirror >> 3) + count]

    def _restore_registers(self, pair: Any, values: npt.NDArray[np.int64]) -> None:
        """Write each register back; the queues stay off until the driver has put its rings right."""
        for index, value in enumerate(values):
            if index in READ_ONLY:
                continue
            enables = index in (RXDCTL, TXDCTL)
            set_register(pair, index, int(value) & ~QUEUE_ENABLE if enables else int(value), self.now_ps)

    def _rotate_slots(self, pair: Any, rx_head: int) -> None:
        """What the observer knows of each descriptor moves along with the rings."""
        size = int(self._machine.experiment.driver.rx_ring)
        pair.oracle.slot[:size] = np.roll(pair.oracle.slot[:size], -rx_head)
