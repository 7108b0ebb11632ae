"""The verbs of a migration as steps of two stock QEMUs, the VF's server, and nothing in the guest.

QEMU neither knows the VF's state nor keeps it: the source is held before the switchover (``pause-before-switchover``),
configuration space and MSI-X table are read and written through qtest, and the server carries the device's own state.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from vfbench.errors import RunFailed
from vfbench.migration.precopy import NotConverged
from vfbench.strategy import recorded_traits
from vfbench.testbeds.qemu.channels import capabilities, channel_parameters
from vfbench.testbeds.qemu.guests import VF_BUS
from vfbench.testbeds.qemu.rounds import Rounds
from vfbench.testbeds.qemu.vfio import config_space

if TYPE_CHECKING:
    from collections.abc import Callable

    from vfbench.experiment import Experiment
    from vfbench.linux_guest import LinuxGuest
    from vfbench.testbeds.qemu.boot.guest import Guest
    from vfbench.testbeds.qemu.server.client import ServerProcess

PAGE_BYTES = 4096
LOOK_S = 0.002
LONGEST_S = 120.0
STANDSTILL_S = 8.0
SWITCHOVER_S = DRAIN_S = 8.0
PLUG_S = 30.0
"""The failover driver's link watch alone takes 2 s."""
HELD_LIMIT_MS = 1
HELD_SWITCHOVER_BYTES_PER_S = 1000
"""While the switchover is held, QEMU may stop only where a sync finds nothing at all: one byte is more than it allows.
(Not by a limit of 0: then it does not even sync before it stops.)"""
HELD_BYTES_PER_S = 1000
"""And from the device's stop on it may send next to nothing, so that something is left: 0 would mean no limit."""
ANY_DOWNTIME_MS = 2_000_000
NO_BANDWIDTH_LIMIT = 1 << 40
Q35_LOW_BYTES, Q35_SPLIT_BYTES, FOUR_GIB = 0x8000_0000, 0xB000_0000, 1 << 32
"""Memory of this size or more lies in two pieces, the second from 4 GiB on."""
STREAM = "stream"
MSIX_ENTRY_WORDS = 4
CONFIG_WORDS = (*config_space.BARS, config_space.INTERRUPT_LINE)


class StoppedTooEarly(RunFailed):
    """On a host so busy that the guest did not run between two syncs, QEMU found nothing left and stopped it."""


class QemuMigration:
    """Verbs in any order that a script asks for; ``wait`` lets time pass and sees that everybody is well.

    Times are of the monotonic clock, in s. ``parts_s`` names the parts of the downtime.
    """

    def __init__(
        self,
        experiment: Experiment,
        way: LinuxGuest,
        guests: tuple[Guest, Guest],
        server: ServerProcess,
        look: Callable[[str], None],
    ) -> None:
        self._experiment, self._way = experiment, way
        self.source, self.target = guests
        self._server, self._look = server, look
        self.rounds = Rounds()
        self.started_s = self.stopped_s = self.paused_s = self.resumed_s = 0.0
        self.plugged_s = 0.0
        self.parts_s: dict[str, float] = {}
        self.comparison: dict[str, Any] | None = None
        self.final: dict[str, Any] = {}
        self.maps_before: dict[str, int] = {}
        self.ring_pages: list[int] = []
        self._state: dict[str, Any] | None = None
        self._config: dict[int, int] = {}
        self._table: list[int] = []
        self._converged: bool | None = None

    # -- verbs

    def arm_tracking(self) -> None:
        """A stock guest is not told."""

    def disarm_tracking(self) -> None:
        """A stock guest is not told."""

    def pre_copy(self) -> None:
        """QEMU's own pre-copy, up to the moment when its switchover rule holds. It withholds no page."""
        limits = self._experiment.migration
        for guest in (self.source, self.target):
            on = ("pause-before-switchover", *capabilities(limits))
            guest.qmp(
                "migrate-set-capabilities",
                capabilities=[{"capability": each, "state": True} for each in on],
            )
            if channel_parameters(limits):
                guest.qmp("migrate-set-parameters", **channel_parameters(limits))
        uri = f"unix:{self.source.setup.folder / STREAM}"
        # A migration that is cancelled is no reason for the target to end.
        self.target.qmp("migrate-incoming", **{"uri": uri, "exit-on-error": False})
        self.source.qmp(
            "migrate-set-parameters",
            max_bandwidth=limits.bandwidth_bps // 8,
            downtime_limit=HELD_LIMIT_MS if self._holds_switchover else self._downtime_limit_ms,
            avail_switchover_bandwidth=HELD_SWITCHOVER_BYTES_PER_S if self._holds_switchover else 0,
        )
        self._server.call("take_round")
        self.started_s = time.monotonic()
        self.source.qmp("migrate", uri=uri)
        self._run_rounds()

    def shrink_rest(self) -> None:
        raise RunFailed(
            "shrink_rest(): QEMU switches over by its own rule and has no round beyond it; a lower "
            "migration.downtime-limit asks for less at the stop"
        )

    def notify_driver(self) -> None:
        """A stock driver is not told."""

    def stop_device(self) -> None:
        """The VF moves nothing from now on; what is in its FIFO is lost."""
        self._begin_downtime()
        if self._has_vf:
            self._server.call("stop", place="source")
        self._part("quiesce")

    def drain(self) -> None:
        """The driver takes by itself what the device has written back; wait until it has."""
        until = time.monotonic() + DRAIN_S
        while not self._server.call("drained", place="source"):
            self._refuse_early_stop(self.source.qmp("query-migrate"))
            if time.monotonic() > until:
                raise RunFailed(
                    f"the guest's driver did not take what its device had done within {DRAIN_S:.0f} s"
                )
            time.sleep(LOOK_S)
        self._part("quiesce")

    def pause_guest(self) -> None:
        """Let QEMU stop the guest, and hold it before it sends the rest."""
        self._begin_downtime()
        self.source.qmp(
            "migrate-set-parameters",
            downtime_limit=ANY_DOWNTIME_MS,
            avail_switchover_bandwidth=0,
            max_bandwidth=self._experiment.migration.bandwidth_bps // 8,
        )
        self._wait_for("pre-switchover", SWITCHOVER_S)
        self.source.pulse.rest()
        self.paused_s = time.monotonic()
        self._part("quiesce")

    def copy_rest(self) -> None:
        """The ring pages are written once, so that they are sent; then QEMU sends all that is left."""
        if self._has_vf:
            self.ring_pages = self._server.call("rings", place="source")
        if self._way.copies_rings:
            self._rewrite(self.ring_pages)
        if self._way.copies_written:
            self._rewrite(self._server.call("ever_written", place="source"))
        if self._has_vf:
            self._read_config()
        self._part("final_sync")
        self.source.qmp("migrate-set-parameters", max_bandwidth=NO_BANDWIDTH_LIMIT)
        self.source.qmp("migrate-continue", state="pre-switchover")
        self._wait_for("completed", SWITCHOVER_S)
        self.target.qmp.wait_for(self._target_is_loaded, SWITCHOVER_S, "the end of the migration")
        self._part("final_copy")

    def transfer_vf_state(self) -> None:
        """The device's state by its server, configuration space and MSI-X table by qtest (S1)."""
        state = self._server.call("save", place="source")
        self._part("state_transfer")
        self._compare()
        self._write_config()
        self._server.call("load", place="target", state=state)
        self._part("restore")

    def restore_rings(self) -> None:
        """Nothing to do: the heads are loaded with the device's state."""

    def resume(self) -> None:
        """The target runs, and the network learns of it."""
        if self.comparison is None:
            self._compare()
        self.target.qmp("cont")
        self.target.pulse.begin()
        self.resumed_s = time.monotonic()
        self._part("restore")
        self._server.call("deliver_to", place="target")
        self._part("announce")

    def postpone_rest(self) -> None:
        raise RunFailed("a real guest here has all its memory before it runs")

    def fetch_rest(self) -> None:
        raise RunFailed("a real guest here has all its memory before it runs")

    def switch_to(self, backend: str) -> None:
        raise RunFailed(f"{backend}: a real guest here has one device behind its driver")

    def unplug_vf(self) -> None:
        """Nothing yet: QEMU takes a failover pair's primary out of the guest itself when it begins to migrate."""

    def plug_vf(self) -> None:
        """QEMU plugs the target's VF by itself (failover_pair_id); wait until the guest's driver has it."""
        self._await(
            lambda: self._server.call("uses_vf", place="target"), PLUG_S, "the target's VF was not plugged"
        )
        self.plugged_s = time.monotonic() - self.resumed_s

    # -- the pre-copy

    @property
    def _holds_switchover(self) -> bool:
        """Whether something has to be done while the guest still runs, so that QEMU must not switch over by itself."""
        return recorded_traits(self._experiment.strategy).get("stop_order") in ("device-first", "undrained")

    @property
    def _has_vf(self) -> bool:
        return self._way.primary == "vf"

    @property
    def _shows_writes(self) -> bool:
        """Whether the dirty log shows each page that the device writes, and of them no other."""
        return self._way.xdp == "write" or self._way.device_log == "dma"

    @property
    def _downtime_limit_ms(self) -> int:
        return self._experiment.migration.downtime_limit_ns // 10**6

    def _run_rounds(self) -> None:
        until = time.monotonic() + LONGEST_S
        while True:
            self._look("migrating")
            status = self.source.qmp("query-migrate")
            began_round = self.rounds.note(status, time.monotonic() - self.started_s)
            if began_round and self.rounds.count > 1 and self._shows_writes:
                self.rounds.rounds[-2].device_pages = self._server.call("take_round")
            if status["status"] == "pre-switchover":
                self._refuse_early_stop(status)
                self._begin_downtime()
                self.source.pulse.rest()
                return
            if status["status"] in ("failed", "cancelled", "completed"):
                raise RunFailed(
                    f"the migration {status['status']}: {status.get('error-desc', 'QEMU gives no reason')}"
                )
            if self._holds_switchover and self._rest_fits(status, began_round=began_round):
                self.source.qmp("migrate-set-parameters", max_bandwidth=HELD_BYTES_PER_S)
                return
            if self.rounds.count > self._experiment.migration.max_rounds:
                self._cancel()
                raise NotConverged(
                    f"not converged after {self._experiment.migration.max_rounds} syncs of QEMU's dirty log"
                )
            if self._standstill_s > STANDSTILL_S:
                raise RunFailed(f"the migration stands still: QEMU has sent nothing for {STANDSTILL_S:.0f} s")
            if time.monotonic() > until:
                self._cancel()
                raise NotConverged(f"not converged after {LONGEST_S:.0f} s")
            time.sleep(LOOK_S)

    def _refuse_early_stop(self, status: dict[str, Any]) -> None:
        """StoppedTooEarly where the guest should still run and QEMU has stopped it by itself."""
        if self._holds_switchover and status["status"] == "pre-switchover":
            raise StoppedTooEarly("QEMU stopped the guest before its device: no page was dirty at a sync")

    def _rest_fits(self, status: dict[str, Any], *, began_round: bool) -> bool:
        """QEMU's rule: what is left takes no longer than the limit at the bandwidth as measured.

        At a sync that is what was found; within a round, what of it is not sent yet and what was dirtied since. Who
        waited for the sync alone would often come too late: the last rounds take less than 10 ms together.
        """
        ram = status.get("ram")
        if not ram:
            return False
        left = ram["remaining"]
        if not began_round:
            left += ram.get("dirty-pages-rate", 0) * self.rounds.in_round_s * ram.get("page-size", PAGE_BYTES)
        bandwidth = ram.get("mbps", 0.0) * 125_000
        limit_s = self._experiment.migration.downtime_limit_ns / 1e9
        return self.rounds.count > 1 and bool(left <= bandwidth * limit_s)

    def _cancel(self) -> None:
        self.source.qmp("migrate_cancel")
        self._wait_for("cancelled", SWITCHOVER_S)

    @property
    def _standstill_s(self) -> float:
        """How long QEMU has not been seen to send anything."""
        return time.monotonic() - self.started_s - self.rounds.moved_s

    def _wait_for(self, wanted: str, limit_s: float) -> None:
        """Until the migration is ``wanted``; RunFailed after ``limit_s`` in which it came no further."""
        until = time.monotonic() + limit_s
        while True:
            status = self.source.qmp("query-migrate")
            self.rounds.note(status, time.monotonic() - self.started_s)
            if status["status"] == wanted:
                self.final = status
                return
            late = time.monotonic() > until and self._standstill_s > limit_s
            if status["status"] in ("failed", "cancelled") or late:
                reason = status.get("error-desc", f"still {status['status']} after {limit_s:.0f} s")
                raise RunFailed(f"the migration did not come to {wanted}: {reason}")
            self._look("blackout" if self.stopped_s else "migrating")
            time.sleep(LOOK_S)

    def _await(self, done: Callable[[], bool], limit_s: float, failure: str) -> None:
        until = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > until:
                raise RunFailed(f"{failure} within {limit_s:.0f} s")
            self._look("migrating" if not self.resumed_s else "after")
            time.sleep(LOOK_S)

    def _target_is_loaded(self) -> bool:
        return self.target.qmp("query-status")["status"] not in ("inmigrate", "prelaunch-migrate")

    # -- state by qtest

    def _rewrite(self, pages: list[int]) -> None:
        """Read a byte of each page and write it back, as the CPU would: QEMU's dirty log sees it."""
        qtest = self.source.qtest
        addresses = [guest_address(page * PAGE_BYTES, self._experiment.qemu.memory_bytes) for page in pages]
        values = qtest.many([f"readb {address:#x}" for address in addresses])
        qtest.many(
            [f"writeb {address:#x} {value:#x}" for address, value in zip(addresses, values, strict=True)]
        )

    def _read_config(self) -> None:
        qtest = self.source.qtest
        offsets = (config_space.COMMAND, *CONFIG_WORDS, config_space.MSIX_CONTROL)
        self._config = {offset: qtest.read_config(VF_BUS, offset) for offset in offsets}
        self._table = [qtest("readl", self._table_address + 4 * word) for word in self._table_words]

    def _write_config(self) -> None:
        qtest = self.target.qtest
        for offset in CONFIG_WORDS:
            qtest.write_config(VF_BUS, offset, self._config[offset])
        qtest.write_config(VF_BUS, config_space.COMMAND, self._config[config_space.COMMAND] & 0xFFFF)
        for word, value in zip(self._table_words, self._table, strict=True):
            qtest("writel", self._table_address + 4 * word, value)
        qtest.write_config(VF_BUS, config_space.MSIX_CONTROL, self._config[config_space.MSIX_CONTROL])

    @property
    def _table_words(self) -> range:
        return range(config_space.VECTORS * MSIX_ENTRY_WORDS)

    @property
    def _table_address(self) -> int:
        low, high = config_space.BARS[config_space.MSIX_BAR : config_space.MSIX_BAR + 2]
        return (self._config[low] & ~0xF) | self._config[high] << 32

    # -- the bench's own

    def _compare(self) -> None:
        """Both memories while nothing moves; no clock of the run sees the time that it takes."""
        self._server.call("hold")
        began = time.monotonic()
        self.comparison = self._server.call(
            "compare", source=self.source.process.pid, target=self.target.process.pid
        )
        self._server.call("release")
        self._mark += time.monotonic() - began
        self.stopped_s += time.monotonic() - began
        self.started_s += time.monotonic() - began
        self.paused_s += time.monotonic() - began

    def _begin_downtime(self) -> None:
        if not self.stopped_s:
            self.stopped_s = self._mark = time.monotonic()

    def _part(self, name: str) -> None:
        now = time.monotonic()
        self.parts_s[name] = self.parts_s.get(name, 0.0) + now - self._mark
        self._mark = now


def guest_address(offset: int, memory_bytes: int) -> int:
    """The guest-physical address of ``offset`` in the memory's file (pc_q35_init of QEMU)."""
    low = Q35_LOW_BYTES if memory_bytes >= Q35_SPLIT_BYTES else memory_bytes
    return offset if offset < low else offset - low + FOUR_GIB
