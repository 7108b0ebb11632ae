"""What this machine offers the qemu testbed: which QEMU, kernels and accelerator were found, and what they can do."""

from __future__ import annotations

from typing import Any

from vfbench.errors import UserError
from vfbench.settings import Qemu as Settings
from vfbench.testbeds.qemu.memory import available_bytes, needed_bytes
from vfbench.testbeds.qemu.parts.accelerator import chosen
from vfbench.testbeds.qemu.parts.compiled import compiled
from vfbench.testbeds.qemu.parts.described import Parts
from vfbench.testbeds.qemu.parts.find import find_parts
from vfbench.testbeds.qemu.parts.modules import in_loading_order

MIB = 1 << 20
DEVICES = {
    "vfio-user-pci": "the suite's VF, driven by ixgbevf",
    "virtio-net-pci": "virtio-net by vhost-user",
    "intel-iommu": "an IOMMU that the guest sees",
    "igb": "an SR-IOV card for `bench validate linux` and nested guests",
    "e1000e": "a primary for failover",
}
"""QEMU's devices that runs are made of, and what each is for."""
DRIVERS = ("ixgbevf", "virtio_net", "net_failover")


def probe(settings: Settings | None = None) -> dict[str, Any]:
    """What `bench doctor` prints of real Linux guests.

    Always runs (bool) and reason (why not, or None). With the parts found also: qemu, command, devices (name to bool),
    kernel, other_kernels, drivers (name to bool), accelerator, accelerator_reason, timing, guest_program (None, or
    why there is none), memory_mib and available_mib. Never raises.
    """
    asked = settings or Settings()
    try:
        parts = find_parts(asked)
        accelerator = chosen(asked.accelerator, parts.qemu)
    except UserError as error:
        return {"runs": False, "reason": str(error)}
    program = _why_no_program(parts)
    missing = [name for name in ("vfio-user-pci",) if name not in parts.qemu.devices]
    needed, there = needed_bytes(asked.memory_bytes, guests=2), available_bytes()
    return {
        "runs": program is None and needed <= there,
        "reason": program or (None if needed <= there else "not enough memory for two guests"),
        "qemu": parts.qemu.release,
        "command": parts.qemu.command[-1] if len(parts.qemu.command) == 1 else parts.qemu.command[3],
        "devices": {name: name in parts.qemu.devices for name in DEVICES},
        "vf": not missing,
        "kernel": parts.kernel.release,
        "other_kernels": [kernel.release for kernel in parts.kernels[1:]],
        "drivers": {name: _has_driver(parts, name) for name in DRIVERS},
        "accelerator": accelerator.name,
        "accelerator_reason": accelerator.reason,
        "timing": accelerator.timing,
        "memory_mib": needed // MIB,
        "available_mib": there // MIB,
    }


def describe(found: dict[str, Any]) -> list[str]:
    """Lines for people, from what `probe` found."""
    if "qemu" not in found:
        return [f"qemu      no: {found['reason']}"]
    others = f" (also {', '.join(found['other_kernels'])})" if found["other_kernels"] else ""
    lacking = [f"{name} ({DEVICES[name]})" for name, there in found["devices"].items() if not there]
    drivers = [name for name, there in found["drivers"].items() if there]
    counts = "count" if found["timing"] == "measured" else "do not count: such runs are marked functional"
    lines = [
        f"qemu      {found['qemu']}, {found['command']}",
        f"devices   {', '.join(name for name, there in found['devices'].items() if there)}",
        *(f"          lacks {each}" for each in lacking),
        f"linux     {found['kernel']}{others} with {', '.join(drivers) or 'none of the drivers'}",
        f"runs by   {found['accelerator']}: {found['accelerator_reason']}; times {counts}",
        f"memory    two guests want {found['memory_mib']} MiB; {found['available_mib']} MiB can be had",
    ]
    if not found["runs"]:
        return [*lines, f"allows    no run with --testbed qemu: {found['reason']}"]
    only = "" if found["vf"] else ", virtio-net only: the VF wants QEMU 10.1 or newer with vfio-user-pci"
    return [*lines, f"allows    runs with --testbed qemu{only}; bench validate linux"]


def _has_driver(parts: Parts, name: str) -> bool:
    try:
        in_loading_order(parts.kernel.modules, [name])
    except UserError:
        return False
    return True


def _why_no_program(parts: Parts) -> str | None:
    try:
        compiled(parts.compiler)
    except UserError as error:
        return str(error)
    return None
