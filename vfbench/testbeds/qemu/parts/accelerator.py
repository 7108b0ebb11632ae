"""Which accelerator a guest gets: KVM where /dev/kvm runs guests natively, else QEMU's own translator (TCG)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vfbench.errors import UserError
from vfbench.testbeds.qemu.boot.console import BOOT_S
from vfbench.testbeds.qemu.parts.described import Qemu

BOOT_INSTRUCTIONS = 2e9
"""Of a guest's kernel and init, about: TCG takes 6 to 10 s, at some 300 million a second."""
SLOWEST_NS = BOOT_S / BOOT_INSTRUCTIONS * 1e9
"""An instruction of a KVM that emulates may take so long: a guest that takes longer to boot is given up."""


@dataclass(frozen=True)
class Accelerator:
    """``name`` is for ``-accel``; ``timing`` is whether times count, as on the kvm testbed; ``reason`` says why."""

    name: str
    timing: str
    reason: str

    @property
    def cpu(self) -> str:
        """QEMU's ``-cpu``: all that the accelerator has."""
        return "host" if self.name == "kvm" else "max"


def chosen(asked: str, qemu: Qemu) -> Accelerator:
    """For ``kvm``, ``tcg`` or ``auto``; UserError for one that can't be had here."""
    if asked == "tcg":
        return _tcg(qemu, "it was asked for")
    reason = _no_kvm(qemu)
    if asked == "kvm":
        if reason is not None:
            raise UserError(f"qemu.accelerator=kvm can't be had: {reason}; take tcg or auto")
        emulated = _machine()["guest_runs"] == "emulated"
        _refuse_slow(_machine()["ns_per_instruction"])
        said = "asked for, but guests are emulated here" if emulated else "it was asked for"
        return Accelerator("kvm", "functional" if emulated else "measured", said)
    if reason is None and _machine()["guest_runs"] == "natively":
        return Accelerator("kvm", "measured", "/dev/kvm runs guests natively")
    return _tcg(qemu, reason or "/dev/kvm emulates guests here")


def _refuse_slow(ns_per_instruction: float) -> None:
    if ns_per_instruction > SLOWEST_NS:
        raise UserError(
            f"qemu.accelerator=kvm can't be had: /dev/kvm emulates guests here, {ns_per_instruction:,.0f} ns an "
            f"instruction, and Linux would not boot within {BOOT_S:.0f} s; take tcg or auto"
        )


def _tcg(qemu: Qemu, reason: str) -> Accelerator:
    if "tcg" not in qemu.accelerators:
        raise UserError(f"{qemu.command[-1]} has no TCG, and KVM can't be had: {reason}")
    return Accelerator("tcg", "functional", reason)


def _no_kvm(qemu: Qemu) -> str | None:
    if "kvm" not in qemu.accelerators:
        return f"QEMU {qemu.release} is built without KVM"
    machine = _machine()
    return None if machine["kvm"] else str(machine["reason"])


@lru_cache(maxsize=1)
def _machine() -> dict[str, Any]:
    from vfbench.testbeds.kvm.doctor import probe

    return probe()
