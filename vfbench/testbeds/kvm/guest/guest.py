"""The guest before its first instruction.

Its code, its records, and what its kernel set up before the driver opened.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.experiment import Experiment
from vfbench.layout import STRUCTURES
from vfbench.machine.driver.state import FREE_TAIL
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.port import PATH_VF, PATH_VIRTIO
from vfbench.machine.wire import APPLICATION
from vfbench.strategy import backends
from vfbench.testbeds.binding import bind_driver, bind_guest, fill_guest_structures
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.guest.guest_abi import GUEST_CPU, GUEST_PORT
from vfbench.testbeds.kvm.guest.program import compile_delivered, compile_hook, compile_main
from vfbench.testbeds.kvm.host.endpoint import Site
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.records_at_start import prepare_application, prepare_driver, random_state

COPIED_OPTIONS = (
    "rx_size",
    "tx_size",
    "first_page",
    "pool_pages",
    "virtqueue_size",
)


def guest_paths(experiment: Experiment) -> list[int]:
    """The ways that packets may take; the first is the one before a migration."""
    return [each.path for each in backends(experiment.strategy)]


def path_of(experiment: Experiment) -> int:
    """The way that packets take before a migration."""
    return guest_paths(experiment)[0]


def prepare_guest(site: Site) -> None:
    """Put the guest's program and everything that it finds in memory in place, and point the vCPU at it."""
    vm, experiment = site.vm, site.experiment
    entry = vm.load(compile_main())
    _fill_cpu(site)
    _fill_port(site)
    _fill_application(site)
    _fill_memory(site)
    paths = guest_paths(experiment)
    records = (guest_abi.CPU_GPA, guest_abi.PORT_GPA, guest_abi.APPLICATION_GPA)
    vm.start(entry, *records, int(PATH_VF in paths), int(PATH_VIRTIO in paths))


def record(site: Site, gpa: int, dtype: np.dtype[Any]) -> Any:
    """A record in guest memory."""
    return site.vm.memory.view(gpa, dtype).view(np.recarray)[0]


def busy_ticks(site: Site) -> int:
    """What the guest's driver, hooks and application took so far, in ticks of its time-stamp counter."""
    return int(record(site, guest_abi.PORT_GPA, GUEST_PORT).busy_ticks)


def _fill_cpu(site: Site) -> None:
    experiment = site.experiment
    cpu = record(site, guest_abi.CPU_GPA, GUEST_CPU)
    for name in (*STRUCTURES, *COPIED_OPTIONS):
        cpu[name] = site.host[name]
    prepare_driver(cpu, experiment)
    bind_driver(cpu, experiment.strategy)
    cpu.stops_in_touch = experiment.kvm.clock == "lockstep"
    layout = site.layout.queues[0]
    bind_guest(cpu, experiment.strategy, layout, lambda hook, n: site.vm.load(compile_hook(hook, n)))
    cpu.hook_delivered = site.vm.load(compile_delivered(experiment.workload))
    _fill_writer(site, cpu)


def _fill_writer(site: Site, cpu: Any) -> None:
    rate = site.experiment.workload.dirty_rate_pages_per_s
    cpu.random = random_state(site.experiment.seed, 1)
    cpu.writer_base, cpu.writer_pages = site.layout.working_set.base, site.layout.working_set.pages
    cpu.writer_gap_ps = round(1e12 / rate) if rate else 0
    cpu.writer_next_ps = 0 if rate else np.iinfo(np.int64).max


def _fill_port(site: Site) -> None:
    port = record(site, guest_abi.PORT_GPA, GUEST_PORT)
    port.path = path_of(site.experiment)
    port.polling = 1


def _fill_application(site: Site) -> None:
    experiment, heap = site.experiment, site.layout.heaps[0]
    application = record(site, guest_abi.APPLICATION_GPA, APPLICATION)
    application.heap, application.heap_pages = heap.base, heap.pages
    prepare_application(application, experiment, 2)


def _fill_memory(site: Site) -> None:
    """Free pages and free addresses; and a word in every page above, so that none is all zeros."""
    layout = site.layout.queues[0]
    count = layout.packets.pages
    pages = layout.packets.base + np.arange(count, dtype=np.int64) * PAGE_BYTES
    site.word(layout.free_pages.base, count)[:] = pages[::-1]
    site.word(layout.driver.base + FREE_TAIL)[0] = count
    mechanisms = site.experiment.strategy.mechanisms
    fill_guest_structures(mechanisms, layout, lambda r: site.word(r.base, r.size_bytes >> 3))
    words = site.vm.memory.bytes[site.layout.backed_bytes :].view(np.int64).reshape(-1, PAGE_BYTES // 8)
    words[:, 0] = np.arange(len(words)) + site.experiment.seed


assert boot.FREE_BASE >= guest_abi.END_GPA
