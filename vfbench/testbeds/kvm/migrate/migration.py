"""The verbs of a migration, carried out on a real VM and its destination, each timed by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from vfbench.errors import RunFailed
from vfbench.machine.driver.state import REGISTER_MIRROR
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.queue_pair import PATH_VF, PATH_VIRTIO
from vfbench.machine.vf.register_access import read_register
from vfbench.machine.vf.registers import QUEUE_REGISTERS, RDH, TDH
from vfbench.machine.wire import NEVER_PS
from vfbench.migration.precopy import Precopy, precopy_of
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.host.comparison import compare
from vfbench.testbeds.kvm.migrate import stream
from vfbench.testbeds.kvm.migrate.sender import KvmSender
from vfbench.testbeds.kvm.sys import boot

if TYPE_CHECKING:
    from vfbench.migration.comparison import Comparison
    from vfbench.testbeds.binding import Sources
    from vfbench.testbeds.kvm.host.bench_records import Bench
    from vfbench.testbeds.kvm.host.endpoint import Endpoint
    from vfbench.testbeds.kvm.host.timeline import Timeline
    from vfbench.testbeds.kvm.migrate.destination_process import DestinationProcess

PARTS = ("quiesce", "final_sync", "final_copy", "state_transfer", "restore", "announce")
TAKE_OVER_LIMIT_S = 4.0


class KvmMigration:
    """One migration of one guest from this process to another."""

    def __init__(
        self, endpoint: Endpoint, bench: Bench, destination: DestinationProcess, timeline: Timeline
    ) -> None:
        self._endpoint = endpoint
        self._bench = bench
        self._pair, self._wire = bench.records.pair, bench.records.wire
        self._destination = destination
        self._timeline = timeline
        self.sender = KvmSender(endpoint, lambda: destination.stream, timeline)
        self._saved: list[int] = []
        self._stopped = False
        self._moved = False
        self._paused_ps: int | None = None
        self.started_ps = timeline.now_ps
        self.resumed_ps: int | None = None
        self.vcpu_pause_ps: int | None = None
        self.part_ps = dict.fromkeys(PARTS, 0)
        self.precopy: Precopy | None = None
        self.comparison: Comparison | None = None
        self.residual_pages: int | None = None

    @property
    def downtime_ps(self) -> int:
        return sum(self.part_ps.values())

    @property
    def sources(self) -> Sources:
        """The mechanisms as the source's host sees them."""
        return self._endpoint.sources

    @property
    def at_destination(self) -> bool:
        """Whether the guest runs there now."""
        return self.resumed_ps is not None

    # -- the verbs

    def arm_tracking(self) -> None:
        self._endpoint.set_tracking(True)

    def disarm_tracking(self) -> None:
        if self.at_destination:
            self._destination.stream.ask(stream.TRACKING, {"armed": 0})
        else:
            self._endpoint.set_tracking(False)

    def pre_copy(self) -> None:
        self.sender.skips_mapped = self._endpoint.sources.withholds_mapped
        self.precopy = precopy_of(self._endpoint.experiment.migration, self.sender)
        self.precopy.run()

    def shrink_rest(self) -> None:
        if self.precopy is not None:
            self.precopy.shrink()

    def notify_driver(self) -> None:
        with self._part("quiesce"):
            self._begin_stop()
            self._endpoint.command(guest_abi.NOTICE)

    def stop_device(self) -> None:
        with self._part("quiesce"):
            self._begin_stop()
            self._pair.enabled = 0
            self._endpoint.await_turn()
            self._bench.empty_fifo()
            self._forget_unwritten()

    def drain(self) -> None:
        with self._part("quiesce"):
            self._endpoint.command(guest_abi.DRAIN)

    def pause_guest(self) -> None:
        with self._part("quiesce"):
            self._begin_stop()
            self._endpoint.pause_vcpu()
            self._endpoint.check()
            self._paused_ps = self._timeline.now_ps

    def copy_rest(self) -> None:
        with self._part("final_sync"):
            self.residual_pages = self.sender.held_back_pages
            self.sender.final_sync()
        with self._part("final_copy"):
            self.sender.send_all()

    def transfer_vf_state(self) -> None:
        with self._part("state_transfer"):
            self._saved = [int(read_register(self._pair, index)) for index in range(len(QUEUE_REGISTERS))]
            self._move()
            registers = self._saved if self._reads_registers else self._mirrored_registers()
            self._destination.stream.ask(stream.VF_STATE, {"registers": registers})

    def restore_rings(self) -> None:
        with self._part("restore"):
            self._move()
            self._destination.stream.ask(stream.RESTORE_RINGS, [self._saved[RDH], self._saved[TDH]])

    def resume(self) -> None:
        with self._part("restore"):
            self._move()
            self._destination.stream.ask(stream.RESUME)
        with self._part("announce"):
            self._announce()
        self.resumed_ps = self._timeline.now_ps
        if self._paused_ps is not None:
            self.vcpu_pause_ps = self.resumed_ps - self.part_ps["announce"] - self._paused_ps
        self._timeline.phase = "after"

    def postpone_rest(self) -> None:
        raise RunFailed("a real guest here has all its memory before it runs")

    def fetch_rest(self) -> None:
        raise RunFailed("a real guest here has all its memory before it runs")

    def switch_to(self, backend: str) -> None:
        raise RunFailed(f"{backend}: a real guest here has one device behind its driver")

    def unplug_vf(self) -> None:
        self._pair.enabled = 0
        self._endpoint.await_turn()
        self._bench.empty_fifo()
        self._forget_unwritten()
        self._endpoint.command(guest_abi.DRAIN)
        self._endpoint.command(guest_abi.CLOSE_VF)
        self._bench.set_path(PATH_VIRTIO)
        self._endpoint.command(guest_abi.SET_PATH, PATH_VIRTIO)
        self._pair.enabled = 1

    def plug_vf(self) -> None:
        self._destination.stream.ask(stream.PLUG_VF)
        self._bench.set_path(PATH_VF)
        self._pair.enabled = 1

    def cancel(self) -> None:
        """As after migrate_cancel: the guest stays where it is."""
        self.sender.stop_log()
        self._timeline.phase = "after"

    # -- what the verbs are made of

    @property
    def _reads_registers(self) -> bool:
        return self._endpoint.experiment.migration.vf_state == "sysfs"

    def _mirrored_registers(self) -> list[int]:
        """As the driver kept them in guest memory (S2), read from the destination's copy of it."""
        gpa = self._endpoint.layout.queues[0].driver.base + REGISTER_MIRROR
        words = self._destination.memory.reshape(-1)[gpa : gpa + 8 * len(QUEUE_REGISTERS)].view(np.int64)
        return [int(word) for word in words]

    def _begin_stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._timeline.phase = "blackout"

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        began_ps = self._timeline.now_ps
        yield
        self.part_ps[name] += self._timeline.now_ps - began_ps

    def _forget_unwritten(self) -> None:
        """A descriptor that was never written back is nobody's: its packet is gone with the device."""
        pair, mask = self._pair, self._endpoint.experiment.driver.rx_ring - 1
        for _ in range(int(pair.nic.unwritten)):
            pair.nic.rx_head = (int(pair.nic.rx_head) - 1) & mask
            slot = pair.oracle.slot[pair.nic.rx_head]
            pair.oracle.lost_reset += slot["pending"]
            slot["pending"] = 0
        pair.nic.unwritten = 0
        pair.nic.write_back_due_ps = NEVER_PS

    def _move(self) -> None:
        """The vCPU and the testbed's own pages follow the memory; then the two memories are compared."""
        if self._moved:
            return
        self._moved = True
        self._endpoint.take_device_away()
        memory = self._endpoint.vm.memory.bytes
        state = memory[: boot.FREE_BASE].tobytes() + self._endpoint.vm.vcpu.save()
        connection = self._destination.stream
        connection.send(stream.GUEST_STATE, state)
        connection.answer()
        self._timeline.hold()
        try:
            self.comparison = compare(
                memory.reshape(-1, PAGE_BYTES), self._destination.memory, self._endpoint.layout
            )
        finally:
            self._timeline.release()

    def _announce(self) -> None:
        """The peer learns the guest's new place: from the next frame on the destination takes them in."""
        self._endpoint.stop_host_thread()
        self._wire.admitted_ps = -1
        self._destination.stream.ask(stream.TAKE_WIRE)
