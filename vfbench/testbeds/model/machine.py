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
from vfbench.layout import STRUCTURES, GuestLayout, QueueLayout, lay_out, spreads_frames, virtqueue_size
from vfbench.machine.cpu import CPU
from vfbench.machine.driver.state import FREE_BLOCK, FREE_TAIL, WATCHDOG_PS
from vfbench.machine.driver.vf_open import open_vf
from vfbench.machine.driver.virtio_receive import BIG, MERGEABLE, SINGLE, virtio_refill
from vfbench.machine.memory.block_pool import BLOCK_PAGES, SEND_BLOCK_BYTES
from vfbench.machine.memory.faults import OutsideMemoryError, explain_fault
from vfbench.machine.memory.guest_memory import MAPPED, PAGE_BYTES, Memory
from vfbench.machine.oracle.part_words import frames_in, part_bytes, part_payload
from vfbench.machine.queue_pair import FIFO_FRAMES, PATH_VF, PATH_VIRTIO, QUEUE_PAIR
from vfbench.machine.wire import (
    APPLICATION,
    BUFFER_BYTES,
    ETHERNET_BYTES,
    FRAME_OVERHEAD_BYTES,
    FRAMES,
    HEADER_BYTES,
    NEVER_PS,
    SOURCE,
)
from vfbench.mechanism import Backend
from vfbench.parameters import changed
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
from vfbench.testbeds.records_at_start import (
    costs_ps,
    interrupt_interval_ps,
    is_closed_loop,
    prepare_application,
    prepare_driver,
    prepare_pair,
    prepare_peer,
    random_state,
)

LATEST_SLICE_PS = 10**9
BUFFER_KINDS = {"single": SINGLE, "mergeable": MERGEABLE, "big": BIG}

EXITS = {
    "user-space": "exit_user_space",
    "kernel": "exit_kernel",
    "other-core": "exit_other_core_guest",
}


COUNTS = ("first_stores", "exits", "kicks", "interrupts", "maps", "unmaps", "unwritten_unmaps")


def records(dtype: np.dtype[Any], count: int) -> Any:
    """``count`` zeroed records."""
    return np.zeros(count, dtype=dtype).view(np.recarray)


@kernel
def open_queues(cpus: Any, pairs: Any, queues: int, vf: bool, virtio: bool) -> None:
    """Bring up the devices that the guest has."""
    for q in range(queues):
        if vf:
            open_vf(cpus[q], pairs[q])
        if virtio:
            virtio_refill(cpus[q], pairs[q])


HOST_PAGE_SHIFT = {"2MiB": 21, "4KiB": 12}


def joined_frames_waiting(pair: Any) -> int:
    """Frames beyond one a packet of the tap's queue, and those that the host's NIC driver holds."""
    waiting = range(int(pair.nic.fifo_head), int(pair.nic.fifo_tail))
    words = [int(pair.nic.fifo[i % FIFO_FRAMES].length) for i in waiting] if pair.vhost.host_gro else []
    held = pair.vhost.host_joined[pair.vhost.host_joined["flow"] != 0]
    return sum(frames_in(part_bytes(each), part_payload(each)) - 1 for each in words) + int(
        held["frames"].sum()
    )


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
        self.pairs = records(QUEUE_PAIR, self.queues)
        self.applications = records(APPLICATION, self.queues)
        self._sources, self._frames, self._engines = (
            records(SOURCE, 1),
            records(FRAMES, 1),
            records(ENGINE, 1),
        )
        self.source, self.frames, self.engine = self._sources[0], self._frames[0], self._engines[0]
        self.host_structures = HostStructures(experiment)
        self._kept = prepare_peer(self.source, experiment)
        self._fill_engine()
        for q, layout in enumerate(self.layout.queues):
            self.cpus[q].queue = q
            self._fill_cpu(self.cpus[q], layout)
            self._fill_pair(self.pairs[q])
            self._fill_application(q)
            self._fill_memory(layout)
        self._fill_costs(self.cpus[self.queues])
        self.memory.attach(self.cpus[self.queues])
        paths = [each.path for each in backends(experiment.strategy)]
        with self.faults_explained():
            open_queues(self.cpus, self.pairs, self.queues, PATH_VF in paths, any(set(paths) - {PATH_VF}))
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
            self.engine, self.cpus, self.pairs, self.applications, self.source, self.frames, int(until_ps)
        )

    def move_to(self, memory: Memory) -> None:
        """The guest runs on this memory from now on."""
        self.memory = memory
        for cpu in self.cpus:
            memory.attach(cpu)

    def set_path(self, path: int) -> None:
        """Which device the guest's packets take; the other one's queue in front of it is emptied."""
        for pair in self.pairs:
            self.empty_fifo(pair)
            pair.path = path
            pair.backend_slot = self._slot_of(path)
            pair.interrupt_interval_ps = interrupt_interval_ps(self.experiment, path)
            pair.adapts = path == PATH_VF and self.experiment.device.adapts
            pair.nic.fifo_limit_bytes, pair.nic.fifo_limit_frames = self._queue_limits(path)
            pair.polling = 1

    def _slot_of(self, path: int) -> int:
        """Which of the strategy's mechanisms serves a path."""
        mechanisms = self.experiment.strategy.mechanisms
        return next(i for i, each in enumerate(mechanisms) if isinstance(each, Backend) and each.path == path)

    def empty_fifo(self, pair: Any) -> None:
        """The device is stopped or gone: what waits in front of it is lost, but not the frame that it has begun."""
        begun = 1 if pair.nic.rx_taken else 0
        pair.oracle.lost_reset += joined_frames_waiting(pair)
        pair.vhost.host_joined["flow"] = pair.vhost.host_held = 0
        pair.oracle.lost_reset += pair.nic.fifo_tail - pair.nic.fifo_head - begun
        pair.nic.fifo_tail = pair.nic.fifo_head + begun
        pair.nic.fifo_bytes = int(pair.nic.fifo[pair.nic.fifo_head % FIFO_FRAMES].length) if begun else 0

    def ps(self, cost: str) -> int:
        """One of the profile's times, in picoseconds."""
        return self.profile.picoseconds(cost)

    def _fill_engine(self) -> None:
        workload = self.experiment.workload
        kernels = type(workload)
        engine = self.engine
        engine.queues = self.queues
        closed = is_closed_loop(self.experiment)
        engine.slice_ps = max(1, int(self.source.turnaround_ps)) if closed else LATEST_SLICE_PS
        engine.random = random_state(self.experiment.seed, 1)
        engine.arrivals = address_of(kernels.arrivals, self.source, self.frames, 0)
        engine.peer_received = address_of(kernels.peer_received, self.source, 0, 0, 0)
        engine.writer_base = self.layout.working_set.base
        engine.writer_pages = self.layout.working_set.pages
        rate = workload.dirty_rate_pages_per_s
        engine.writer_gap_ps = round(1e12 / rate) if rate else 0

    def _fill_cpu(self, cpu: Any, layout: QueueLayout) -> None:
        experiment, driver = self.experiment, self.experiment.driver
        for name in STRUCTURES:
            cpu[name] = getattr(layout, name).base
        cpu.first_page, cpu.pool_pages = layout.packets.base, layout.packets.pages
        cpu.rx_size, cpu.tx_size = driver.rx_ring, driver.tx_ring
        cpu.virtqueue_size = virtqueue_size(experiment.strategy)
        prepare_driver(cpu, experiment)
        self._fill_offloads(cpu, layout)
        bind_driver(cpu, experiment.strategy)
        self._fill_costs(cpu)
        self._bind_mechanisms(cpu, layout)
        self.memory.attach(cpu)

    def _fill_offloads(self, cpu: Any, layout: QueueLayout) -> None:
        driver, mtu_bytes = self.experiment.driver, self.experiment.link.mtu_bytes
        cpu.virtio_buffers = BUFFER_KINDS[driver.virtio_buffers]
        cpu.gathers = spreads_frames(self.experiment) or cpu.virtio_buffers != SINGLE
        cpu.frame_bytes = mtu_bytes + ETHERNET_BYTES
        # At the usual MTU a workload's frame may be any that one buffer holds.
        cpu.cut_over_bytes = cpu.frame_bytes if "mtu" in changed(self.experiment.link) else BUFFER_BYTES
        if driver.segmentation == "on":
            mss_bytes = int(cpu.frame_bytes) - FRAME_OVERHEAD_BYTES
            cpu.send_payload_bytes = max(1, (driver.segment_bytes - HEADER_BYTES) // mss_bytes) * mss_bytes
        if driver.segmentation == "on" or spreads_frames(self.experiment):
            cpu.fragment_bytes = SEND_BLOCK_BYTES if layout.blocks else PAGE_BYTES
            cpu.first_block = layout.first_block if layout.blocks else 0

    def _fill_costs(self, cpu: Any) -> None:
        cpu.cost[:] = costs_ps(self.profile)
        log = "pml_store" if self.experiment.guest.dirty_log == "pml" else "write_fault"
        cpu.first_store_ps = self.profile.picoseconds(log)
        for slot, each in enumerate(self.experiment.strategy.mechanisms):
            if each.guest_lock is not None:
                held, brought = each.guest_lock
                cpu.guest_lock_areas = each.lock_areas(self.profile.value)
                cpu.guest_lock_hold_ps = self.profile.picoseconds(held)
                cpu.guest_lock_transfer_ps = self.profile.picoseconds(brought)
            if each.exit_to == "user-space":
                cpu.exit_locked_ps[slot] = self.profile.picoseconds("exit_user_space_locked")
            price = EXITS.get(each.exit_to)
            cpu.exit_ps[slot] = cpu.exit_host_ps[slot] = self.profile.picoseconds(price) if price else 0

    def _bind_mechanisms(self, cpu: Any, layout: QueueLayout) -> None:
        strategy = self.experiment.strategy

        def address(function: Kernel, arguments: int) -> int:
            if arguments == TRANSLATE:
                return address_of(function, cpu, self.pairs[0], 0, 0, 0)
            return address_of(function, cpu, *[0] * (1 + arguments))

        bind_guest(cpu, strategy, layout, address)
        bind_host(cpu, strategy, self.profile, self.host_structures, address)
        delivered = type(self.experiment.workload).delivered
        cpu.hook_delivered = address_of(delivered, cpu, self.applications[0], 0, 0)

    def _fill_pair(self, pair: Any) -> None:
        prepare_pair(pair, self.experiment, self.profile)
        path = backends(self.experiment.strategy)[0].path
        pair.path = path
        pair.backend_slot, pair.queues = self._slot_of(path), self.queues
        pair.enabled = 1
        pair.polling = 1
        pair.interrupt_interval_ps = interrupt_interval_ps(self.experiment, path)
        pair.watchdog_ps = WATCHDOG_PS
        pair.vhost.host_interrupt_interval_ps = self.experiment.device.interrupt_interval_ns * 1000
        pair.vhost.host_adapts = self.experiment.device.adapts
        pair.nic.fifo_limit_bytes, pair.nic.fifo_limit_frames = self._queue_limits(path)
        pair.adapts = path == PATH_VF and self.experiment.device.adapts
        pair.low_from_bytes_per_us = round(self.profile.value("moderation_low_from"))
        pair.bulk_from_bytes_per_us = round(self.profile.value("moderation_bulk_from"))
        pair.nic.host_page_shift = HOST_PAGE_SHIFT[self.experiment.guest.host_pages]
        # One IOMMU translates for all queues.
        pair.nic.iotlb_entries = max(1, int(self.profile.value("iotlb_entries")) // self.queues)
        pair.oracle.measures_latency = 0
        self._fill_host(pair)

    def _fill_host(self, pair: Any) -> None:
        """How the host's stack joins and cuts."""
        host = self.experiment.host
        pair.vhost.host_gro, pair.vhost.host_cuts_sends = host.gro == "on", host.segmentation == "off"
        pair.vhost.host_frame_bytes = self.experiment.link.mtu_bytes + ETHERNET_BYTES
        pair.vhost.host_most_bytes = self.cpus[0].cut_over_bytes
        pair.vhost.host_frame_ps = self.ps("host_nic_packet")
        pair.vhost.gathers = self.experiment.driver.virtio_buffers != "single"

    def _queue_limits(self, path: int) -> tuple[int, int]:
        if path == PATH_VIRTIO:
            return NEVER_PS, FIFO_FRAMES
        return int(self.profile.value("fifo")) // self.queues, FIFO_FRAMES

    def _fill_application(self, q: int) -> None:
        application, heap = self.applications[q], self.layout.heaps[q]
        application.heap, application.heap_pages = heap.base, heap.pages
        self._kept += prepare_application(application, self.experiment, 2 + q)

    def _fill_memory(self, layout: QueueLayout) -> None:
        """What the guest's kernel set up before the driver opened: free pages, free addresses."""
        count = layout.packets.pages - BLOCK_PAGES * layout.blocks
        pages = layout.packets.base + np.arange(count, dtype=np.int64) * PAGE_BYTES
        self._words(layout.free_pages.base, len(pages))[:] = pages[::-1]
        self._words(layout.driver.base + FREE_TAIL, 1)[:] = len(pages)
        self._free_blocks(layout, count)
        mechanisms = self.experiment.strategy.mechanisms
        fill_guest_structures(mechanisms, layout, lambda r: self._words(r.base, r.size_bytes >> 3))

    def _free_blocks(self, layout: QueueLayout, first_page: int) -> None:
        """Chain the blocks behind the single pages: each one's second count word names the next."""
        counts = self._words(layout.page_refcounts.base, layout.packets.pages)
        blocks = layout.first_block + np.arange(layout.blocks, dtype=np.int64) * SEND_BLOCK_BYTES
        counts[first_page + 1 :: BLOCK_PAGES] = np.append(blocks[1:], 0)[: len(blocks)]
        self._words(layout.driver.base + FREE_BLOCK, 1)[:] = blocks[0] if len(blocks) else 0

    def _start_clocks(self) -> None:
        """The run begins with the driver open; what opening it took and did is not part of it."""
        for name in ("clock_ps", "idle_ps", "host_ps", *COUNTS):
            self.cpus[name] = 0
        for pair in self.pairs:
            pair.nic.rx_ready_ps = pair.nic.tx_ready_ps = 0
            pair.vhost.rx_ready_ps = pair.vhost.tx_ready_ps = 0
        self.memory.marks &= MAPPED

    def _words(self, address: int, count: int) -> npt.NDArray[np.int64]:
        return self.memory.words[address >> 3 : (address >> 3) + count]
