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
from vfbench.machine.queue_pair import PATH_VF, PATH_VIRTIO
from vfbench.machine.wire import APPLICATION
from vfbench.strategy import backends
from vfbench.testbeds.binding import bind_driver, bind_guest, fill_guest_structures
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.guest.guest_abi import GUEST_CPU, GUEST_PAIR
from vfbench.testbeds.kvm.guest.program import compile_delivered, compile_hook, compile_main
from vfbench.testbeds.kvm.host.endpoint import Endpoint
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


def prepare_guest(endpoint: Endpoint) -> None:
    """Put the guest's program and everything that it finds in memory in place, and point the vCPU at it."""
    vm, experiment = endpoint.vm, endpoint.experiment
    entry = vm.load(compile_main())
    _fill_cpu(endpoint)
    _fill_pair(endpoint)
    _fill_application(endpoint)
    _fill_memory(endpoint)
    paths = guest_paths(experiment)
    records = (guest_abi.CPU_GPA, guest_abi.PAIR_GPA, guest_abi.APPLICATION_GPA)
    vm.start(entry, *records, int(PATH_VF in paths), int(PATH_VIRTIO in paths))


def record(endpoint: Endpoint, gpa: int, dtype: np.dtype[Any]) -> Any:
    """A record in guest memory."""
    return endpoint.vm.memory.view(gpa, dtype).view(np.recarray)[0]


def busy_ticks(endpoint: Endpoint) -> int:
    """What the guest's driver, hooks and application took so far, in ticks of its time-stamp counter."""
    return int(record(endpoint, guest_abi.PAIR_GPA, GUEST_PAIR).busy_ticks)


def _fill_cpu(endpoint: Endpoint) -> None:
    experiment = endpoint.experiment
    cpu = record(endpoint, guest_abi.CPU_GPA, GUEST_CPU)
    for name in (*STRUCTURES, *COPIED_OPTIONS):
        cpu[name] = endpoint.host[name]
    prepare_driver(cpu, experiment)
    bind_driver(cpu, experiment.strategy)
    cpu.stops_in_touch = experiment.kvm.clock == "lockstep"
    layout = endpoint.layout.queues[0]
    bind_guest(cpu, experiment.strategy, layout, lambda hook, n: endpoint.vm.load(compile_hook(hook, n)))
    cpu.hook_delivered = endpoint.vm.load(compile_delivered(experiment.workload))
    _fill_writer(endpoint, cpu)


def _fill_writer(endpoint: Endpoint, cpu: Any) -> None:
    rate = endpoint.experiment.workload.dirty_rate_pages_per_s
    cpu.random = random_state(endpoint.experiment.seed, 1)
    cpu.writer_base, cpu.writer_pages = endpoint.layout.working_set.base, endpoint.layout.working_set.pages
    cpu.writer_gap_ps = round(1e12 / rate) if rate else 0
    cpu.writer_next_ps = 0 if rate else np.iinfo(np.int64).max


def _fill_pair(endpoint: Endpoint) -> None:
    pair = record(endpoint, guest_abi.PAIR_GPA, GUEST_PAIR)
    pair.path = path_of(endpoint.experiment)
    pair.polling = 1


def _fill_application(endpoint: Endpoint) -> None:
    experiment, heap = endpoint.experiment, endpoint.layout.heaps[0]
    application = record(endpoint, guest_abi.APPLICATION_GPA, APPLICATION)
    application.heap, application.heap_pages = heap.base, heap.pages
    prepare_application(application, experiment, 2)


def _fill_memory(endpoint: Endpoint) -> None:
    """Free pages and free addresses; and a word in every page above, so that none is all zeros."""
    layout = endpoint.layout.queues[0]
    count = layout.packets.pages
    pages = layout.packets.base + np.arange(count, dtype=np.int64) * PAGE_BYTES
    endpoint.word(layout.free_pages.base, count)[:] = pages[::-1]
    endpoint.word(layout.driver.base + FREE_TAIL)[0] = count
    mechanisms = endpoint.experiment.strategy.mechanisms
    fill_guest_structures(mechanisms, layout, lambda r: endpoint.word(r.base, r.size_bytes >> 3))
    words = (
        endpoint.vm.memory.bytes[endpoint.layout.backed_bytes :].view(np.int64).reshape(-1, PAGE_BYTES // 8)
    )
    words[:, 0] = np.arange(len(words)) + endpoint.experiment.seed


assert boot.FREE_BASE >= guest_abi.END_GPA
