"""One modelled machine: its memory, its records, and the kernels that move it through virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from vfbench.errors import RunFailed, UserError
from vfbench.experiment import Experiment
from vfbench.kernels import Kernel, address_of, kernel
from vfbench.layout import STRUCTURES, GuestLayout, QueueLayout, lay_out, virtqueue_size
from vfbench.machine.costs import COSTS
from vfbench.machine.cpu import CPU
from vfbench.machine.driver.state import FREE_TAIL, WATCHDOG_PS
from vfbench.machine.driver.vf_open import open_vf
from vfbench.machine.driver.virtio_receive import virtio_refill
from vfbench.machine.memory.faults import OutsideMemoryError, explain_fault
from vfbench.machine.memory.guest_memory import MAPPED, PAGE_BYTES, Memory
from vfbench.machine.port import FIFO_FRAMES, PATH_VF, PATH_VIRTIO, PORT
from vfbench.machine.vf.register_access import reset_registers
from vfbench.machine.wire import APPLICATION, FRAMES, NEVER_PS, SOURCE
from vfbench.mechanism import Backend
from vfbench.profiles import Profile
from vfbench.strategy import backends
from vfbench.testbeds.binding import (
    TRANSLATE,
    HostStructures,
    bind_driver,
    bind_guest,
    bind_host,
    fill_guest_structures,
)
from vfbench.testbeds.model.engine import ENGINE, advance
from vfbench.workload import ignore_answers

COPYBREAK_BYTES = 256
"""Packets up to here were copied out (IXGBEVF_RX_HDR_SIZE, 2015)."""
LATEST_SLICE_PS = 10**9
FULL_FRAME_BYTES = 1538
"""A frame of 1518 bytes with what it takes on the wire beyond itself."""

EXITS = {
    "user-space": "exit_user_space",
    "kernel": "exit_kernel",
    "other-core": "exit_other_core_guest",
}


COUNTS = ("first_stores", "exits", "kicks", "interrupts", "maps", "unmaps", "unwritten_unmaps")


def records(dtype: np.dtype[Any], count: int) -> Any:
    """``count`` zeroed records."""
    return np.zeros(count, dtype=dtype).view(np.recarray)


def random_state(seed: int, stream: int) -> int:
    """A seed for one of the run's independent streams of random numbers; never 0."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]) | 1


@kernel
def open_queues(cpus: Any, ports: Any, queues: int, vf: bool, virtio: bool) -> None:
    """Bring up the devices that the guest has."""
    for q in range(queues):
        if vf:
            open_vf(cpus[q], ports[q])
        if virtio:
            virtio_refill(cpus[q], ports[q])


class Machine:
    """A guest, its device and its peer, built for one experiment.

    ``memory`` is where the guest runs now: the source's until :meth:`move_to`, the destination's after it.
    """

    def __init__(self, experiment: Experiment, profile: Profile) -> None:
        self.experiment = experiment
        self.profile = profile
        self.layout: GuestLayout = lay_out(experiment)
        self.memory = Memory(self.layout.structures.end, self.layout.backed_bytes)
        self.queues = experiment.guest.queues
        self.cpus = records(CPU, self.queues + 1)
        self.ports = records(PORT, self.queues)
        self.applications = records(APPLICATION, self.queues)
        self._sources, self._frames, self._engines = (
            records(SOURCE, 1),
            records(FRAMES, 1),
            records(ENGINE, 1),
        )
        self.source, self.frames, self.engine = self._sources[0], self._frames[0], self._engines[0]
        self.host_structures = HostStructures(experiment)
        self._fill_peer()
        self._fill_engine()
        for q, layout in enumerate(self.layout.queues):
            self.cpus[q].queue = q
            self._fill_cpu(self.cpus[q], layout)
            self._fill_port(self.ports[q])
            self._fill_application(q)
            self._fill_memory(layout)
        self._fill_costs(self.cpus[self.queues])
        self.memory.attach(self.cpus[self.queues])
        paths = [each.path for each in backends(experiment.strategy)]
        with self.faults_explained():
            open_queues(self.cpus, self.ports, self.queues, PATH_VF in paths, any(set(paths) - {PATH_VF}))
        self._start_clocks()

    @contextmanager
    def faults_explained(self) -> Iterator[None]:
        """RunFailed, in one line that names the strategy, where guest code goes outside memory or a hook raises."""
        name = self.experiment.strategy.name
        try:
            yield
        except (RunFailed, UserError):
            raise
        except OutsideMemoryError as fault:
            raise RunFailed(explain_fault(self.cpus, name)) from fault
        except Exception as error:
            raise RunFailed(f"strategy {name!r}: {type(error).__name__}: {error}") from error

    @property
    def now_ps(self) -> int:
        return int(self.engine.now_ps)

    def advance(self, until_ps: int) -> None:
        """Let the whole machine run up to ``until_ps``."""
        advance(
            self.engine, self.cpus, self.ports, self.applications, self.source, self.frames, int(until_ps)
        )

    def move_to(self, memory: Memory) -> None:
        """The guest runs on this memory from now on."""
        self.memory = memory
        for cpu in self.cpus:
            memory.attach(cpu)

    def set_path(self, path: int) -> None:
        """Which device the guest's packets take; the other one's queue in front of it is emptied."""
        for port in self.ports:
            self.empty_fifo(port)
            port.path = path
            port.backend_slot = self._slot_of(path)
            port.interrupt_interval_ps = self._interrupt_interval_ps(path)
            port.adapts = path == PATH_VF and self.experiment.device.adapts
            port.fifo_limit_bytes, port.fifo_limit_frames = self._queue_limits(path)
            port.polling = 1

    def _slot_of(self, path: int) -> int:
        """Which of the strategy's mechanisms serves a path."""
        mechanisms = self.experiment.strategy.mechanisms
        return next(i for i, each in enumerate(mechanisms) if isinstance(each, Backend) and each.path == path)

    def empty_fifo(self, port: Any) -> None:
        """The device is stopped or gone: what waits in front of it is lost."""
        port.lost_reset += port.fifo_tail - port.fifo_head
        port.fifo_head = port.fifo_tail
        port.fifo_bytes = 0

    def ps(self, cost: str) -> int:
        """One of the profile's times, in picoseconds."""
        return self.profile.picoseconds(cost)

    def _fill_peer(self) -> None:
        link, workload, phases = self.experiment.link, self.experiment.workload, self.experiment.phases
        self.source.ps_per_byte = self._ps_per_byte()
        self.source.turnaround_ps = link.peer_turnaround_ns * 1000
        self.source.flows = workload.flows
        self.source.frames_left = NEVER_PS
        self.source.random = random_state(self.experiment.seed, 0)
        self._kept = workload.prepare(self.source)
        self._phases = phases

    def _ps_per_byte(self) -> int:
        return round(8e12 / self.experiment.link.rate_bps)

    def _fill_engine(self) -> None:
        workload = self.experiment.workload
        kernels = type(workload)
        closed = kernels.peer_received is not ignore_answers
        engine = self.engine
        engine.queues = self.queues
        engine.slice_ps = max(1, int(self.source.turnaround_ps)) if closed else LATEST_SLICE_PS
        engine.random = random_state(self.experiment.seed, 1)
        engine.arrivals = address_of(kernels.arrivals, self.source, self.frames, 0)
        engine.peer_received = address_of(kernels.peer_received, self.source, 0, 0, 0)
        engine.writer_base = self.layout.working_set.base
        engine.writer_pages = self.layout.working_set.pages
        rate = workload.dirty_rate_pages_per_s
        engine.writer_gap_ps = round(1e12 / rate) if rate else 0
        for port in self.ports:
            port.reports_answers = closed
            port.seen_by_answers = closed or workload.send_ratio > 0

    def _fill_cpu(self, cpu: Any, layout: QueueLayout) -> None:
        experiment, driver = self.experiment, self.experiment.driver
        for name in STRUCTURES:
            cpu[name] = getattr(layout, name).base
        cpu.first_page, cpu.pool_pages = layout.packets.base, layout.packets.pages
        cpu.rx_size, cpu.tx_size = driver.rx_ring, driver.tx_ring
        cpu.virtqueue_size = virtqueue_size(experiment.strategy)
        cpu.copybreak_bytes = COPYBREAK_BYTES if driver.rx_mode == "copybreak" else 0
        cpu.reuse = driver.page_reuse == "flip"
        cpu.pages_fifo = driver.page_order == "fifo"
        cpu.refill_batch, cpu.poll_budget = driver.refill_batch, driver.poll_budget
        bind_driver(cpu, experiment.strategy)
        cpu.mirror_registers = experiment.migration.vf_state == "self-emulated"
        cpu.hold_ps = experiment.workload.hold_ns * 1000
        self._fill_costs(cpu)
        self._bind_mechanisms(cpu, layout)
        self.memory.attach(cpu)

    def _fill_costs(self, cpu: Any) -> None:
        for i, name in enumerate(COSTS):
            if name.endswith("_rate"):
                cpu.cost[i] = round(1024 * self.profile.picoseconds_per_byte(name))
            else:
                cpu.cost[i] = self.profile.picoseconds(name)
        log = "pml_store" if self.experiment.guest.dirty_log == "pml" else "write_fault"
        cpu.first_store_ps = self.profile.picoseconds(log)
        for slot, each in enumerate(self.experiment.strategy.mechanisms):
            if each.exit_to == "user-space":
                cpu.exit_locked_ps[slot] = self.profile.picoseconds("exit_user_space_locked")
            price = EXITS.get(each.exit_to)
            cpu.exit_ps[slot] = cpu.exit_host_ps[slot] = self.profile.picoseconds(price) if price else 0

    def _bind_mechanisms(self, cpu: Any, layout: QueueLayout) -> None:
        strategy = self.experiment.strategy

        def address(function: Kernel, arguments: int) -> int:
            if arguments == TRANSLATE:
                return address_of(function, cpu, self.ports[0], 0, 0, 0)
            return address_of(function, cpu, *[0] * (1 + arguments))

        bind_guest(cpu, strategy, layout, address)
        bind_host(cpu, strategy, self.profile, self.host_structures, address)
        delivered = type(self.experiment.workload).delivered
        cpu.hook_delivered = address_of(delivered, cpu, self.applications[0], 0, 0)

    def _fill_port(self, port: Any) -> None:
        path = backends(self.experiment.strategy)[0].path
        port.path = path
        port.backend_slot, port.queues = self._slot_of(path), self.queues
        port.enabled = 1
        port.polling = 1
        port.interrupt_interval_ps = self._interrupt_interval_ps(path)
        port.last_interrupt_ps = port.host_interrupt_ps = -NEVER_PS // 2
        port.watchdog_ps = WATCHDOG_PS
        port.host_ring_frames = int(self.profile.value("host_nic_ring"))
        port.tap_queue_frames = int(self.profile.value("tap_queue"))
        port.host_interrupt_interval_ps = self.experiment.device.interrupt_interval_ns * 1000
        port.fifo_limit_bytes, port.fifo_limit_frames = self._queue_limits(path)
        port.write_back_batch = self.experiment.device.writeback_batch
        port.line_ps_per_byte = port.ps_per_byte = self._ps_per_byte()
        port.host_backlog_ps = port.host_ring_frames * FULL_FRAME_BYTES * port.line_ps_per_byte
        port.slowdown_1024[:] = 1024
        port.adapts = path == PATH_VF and self.experiment.device.adapts
        port.low_from_bytes_per_us = round(self.profile.value("moderation_low_from"))
        port.bulk_from_bytes_per_us = round(self.profile.value("moderation_bulk_from"))
        # One IOMMU translates for all queues.
        port.iotlb_entries = max(1, int(self.profile.value("iotlb_entries")) // self.queues)
        port.iotlb_iova[:] = -1
        port.measures_latency = 0
        reset_registers(port)

    def _interrupt_interval_ps(self, path: int) -> int:
        return 0 if path == PATH_VIRTIO else self.experiment.device.interrupt_interval_ns * 1000

    def _queue_limits(self, path: int) -> tuple[int, int]:
        if path == PATH_VIRTIO:
            return NEVER_PS, FIFO_FRAMES
        return int(self.profile.value("fifo")) // self.queues, FIFO_FRAMES

    def _fill_application(self, q: int) -> None:
        application, heap = self.applications[q], self.layout.heaps[q]
        application.random = random_state(self.experiment.seed, 2 + q)
        application.send_share_65536 = round(65536 * self.experiment.workload.send_ratio)
        application.heap, application.heap_pages = heap.base, heap.pages
        self.experiment.workload.prepare_application(application)

    def _fill_memory(self, layout: QueueLayout) -> None:
        """What the guest's kernel set up before the driver opened: free pages, free addresses."""
        pages = layout.packets.base + np.arange(layout.packets.pages, dtype=np.int64) * PAGE_BYTES
        self._words(layout.free_pages.base, len(pages))[:] = pages[::-1]
        self._words(layout.driver.base + FREE_TAIL, 1)[:] = len(pages)
        mechanisms = self.experiment.strategy.mechanisms
        fill_guest_structures(mechanisms, layout, lambda r: self._words(r.base, r.size_bytes >> 3))

    def _start_clocks(self) -> None:
        """The run begins with the driver open; what opening it took and did is not part of it."""
        for name in ("clock_ps", "idle_ps", "host_ps", *COUNTS):
            self.cpus[name] = 0
        for port in self.ports:
            port.rx_ready_ps = port.tx_ready_ps = 0
            port.vhost_rx_ready_ps = port.vhost_tx_ready_ps = 0
        self.memory.marks &= MAPPED

    def _words(self, address: int, count: int) -> npt.NDArray[np.int64]:
        return self.memory.words[address >> 3 : (address >> 3) + count]
