"""Pages written since the last look, by whom: KVM's log, what the host logged itself, what the device wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.testbeds.kvm.sys import boot

if TYPE_CHECKING:
    from vfbench.testbeds.kvm.host.endpoint import Endpoint
    from vfbench.testbeds.kvm.host.timeline import Timeline

OWN_PAGES = boot.FREE_BASE // PAGE_BYTES
RATE_INTERVALS = 10
"""Intervals of the steady state over which the dirty rate is measured, at the most."""

Pages = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Written:
    """One bool for each page of the VM; the testbed's own pages are left out."""

    by_cpu: Pages
    by_host: Pages  # logged by vhost and the emulated IOMMU
    by_device: Pages  # by DMA, or by vhost in its place; no log shows the former


def start_log(endpoint: Endpoint) -> None:
    """From now on stores are logged; what was written before is forgotten."""
    endpoint.vm.set_dirty_logging(True)
    endpoint.logged[:] = 0
    endpoint.device_wrote[:] = 0


def harvest(endpoint: Endpoint) -> Written:
    """What was written since the last time, and clear it all."""
    device = endpoint.device_wrote.astype(np.bool_)
    endpoint.device_wrote[:] = 0
    cpu = endpoint.vm.dirty_log()
    host = np.flatnonzero(endpoint.logged.copy())  # vhost logs on meanwhile
    # Cleared before the page is sent: what is logged from here on is sent again.
    endpoint.logged[host] = 0
    logged = np.zeros(len(cpu), np.bool_)
    logged[host] = True
    for pages in (device, cpu, logged):
        pages[:OWN_PAGES] = False
    return Written(cpu, logged, device)


def dirty_rate(endpoint: Endpoint, timeline: Timeline, interval_ps: int, intervals: int) -> dict[str, Any]:
    """Unique pages written per interval over its length, by the names of the record's measures.

    The log is on for so many intervals and off again after them, as QEMU's ``calc-dirty-rate`` has it in
    its dirty-bitmap mode: throughput is measured without it.
    """
    pages = np.zeros(3, np.int64)
    start_log(endpoint)
    began_ps = timeline.now_ps
    for _ in range(intervals):
        timeline.sleep_until(timeline.now_ps + interval_ps)
        found = harvest(endpoint)
        either = found.by_cpu | found.by_device | found.by_host
        pages += [np.count_nonzero(each) for each in (either, found.by_cpu, found.by_device)]
    seconds = (timeline.now_ps - began_ps) / 1e12
    endpoint.vm.set_dirty_logging(False)
    names = ("dirty_pages_per_s", "dirty_pages_per_s_cpu", "dirty_pages_per_s_dma")
    return {name: int(count) / seconds for name, count in zip(names, pages, strict=True)}
