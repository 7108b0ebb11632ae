"""Calling the mechanisms where they act: chains of kernels by address, each with its slot, in order of declaration."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import NO_KERNEL, call_hook, kernel
from vfbench.machine.sides import primitive
from vfbench.machine.slots import (
    DESCRIPTOR_DONE,
    MAP,
    SYNC_FOR_CPU,
    SYNC_FOR_DEVICE,
    UNMAP,
)

MAP_FAILED = -1
"""What a ``map`` that found no room gives: the driver goes without the buffer, or refuses the frame."""


@kernel
def map_page(cpu: Any, address: int, length_bytes: int, direction: int) -> int:
    """``dma_map_page``: the address for the device, or MAP_FAILED.

    The first entry is the one mechanism that owns the device's addresses, if there is one; others follow.
    """
    iova = address
    if cpu.owns_iova:
        iova = call_hook(cpu.hook[MAP], cpu, cpu.hook_slot[MAP], address, length_bytes, direction)
        if iova == MAP_FAILED:
            return iova
    i = MAP + cpu.owns_iova
    while cpu.hook[i] != NO_KERNEL:
        call_hook(cpu.hook[i], cpu, cpu.hook_slot[i], address, length_bytes, direction)
        i += 1
    return iova


@kernel
def unmap_page(cpu: Any, iova: int, address: int, length_bytes: int, direction: int) -> None:
    """``dma_unmap_page``."""
    i = UNMAP
    while cpu.hook[i] != NO_KERNEL:
        call_hook(cpu.hook[i], cpu, cpu.hook_slot[i], iova, address, length_bytes, direction)
        i += 1


@kernel
def sync_for_device(cpu: Any, iova: int, address: int, length_bytes: int) -> None:
    """``dma_sync_single_range_for_device``: the buffer goes to the device, for the first time or again."""
    i = SYNC_FOR_DEVICE
    while cpu.hook[i] != NO_KERNEL:
        call_hook(cpu.hook[i], cpu, cpu.hook_slot[i], iova, address, length_bytes)
        i += 1


@kernel
def sync_for_cpu(cpu: Any, iova: int, address: int, length_bytes: int) -> None:
    """``dma_sync_single_range_for_cpu``: the buffer is back from the device with a packet of ``length_bytes``."""
    i = SYNC_FOR_CPU
    while cpu.hook[i] != NO_KERNEL:
        call_hook(cpu.hook[i], cpu, cpu.hook_slot[i], iova, address, length_bytes)
        i += 1


@kernel
def descriptor_done(cpu: Any, address: int, length_bytes: int) -> None:
    """The driver found DD set in the descriptor at ``address``."""
    i = DESCRIPTOR_DONE
    while cpu.hook[i] != NO_KERNEL:
        call_hook(cpu.hook[i], cpu, cpu.hook_slot[i], address, length_bytes)
        i += 1


@kernel
def run_hooks(cpu: Any, point: int) -> None:
    """A point without arguments: BEFORE_DOORBELL, OPENED, CLOSED, ARMED, DISARMED or QUIESCE."""
    i = point
    while cpu.hook[i] != NO_KERNEL:
        call_hook(cpu.hook[i], cpu, cpu.hook_slot[i])
        i += 1


@primitive
def dma_written(host: Any, address: int, time_ps: int) -> int:
    """The device wrote to guest-physical ``address`` at ``time_ps``; for how long it must wait before it goes on."""
    stall_ps, i = 0, 0
    while host.dma_hook[i] != NO_KERNEL:
        stall_ps += call_hook(host.dma_hook[i], host, host.dma_hook_slot[i], address, time_ps)
        i += 1
    return stall_ps


@kernel
def page_unmapped(host: Any, page: int) -> None:
    """The hypervisor takes the device's last translation of ``page`` away."""
    i = 0
    while host.unmap_hook[i] != NO_KERNEL:
        call_hook(host.unmap_hook[i], host, host.unmap_hook_slot[i], page)
        i += 1


@kernel
def host_work(host: Any, until_ps: int) -> None:
    """The mechanisms' threads on the host work up to ``until_ps``."""
    i = 0
    while host.work_hook[i] != NO_KERNEL:
        call_hook(host.work_hook[i], host, host.work_hook_slot[i], until_ps)
        i += 1
