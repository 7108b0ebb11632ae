"""What tests of real Linux guests share: the parts, where there are any, and made-up ones where none are needed."""

from __future__ import annotations

import lzma
import os
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from vfbench.errors import UserError
from vfbench.settings import Qemu as Settings
from vfbench.testbeds.qemu.boot.guest import Guest
from vfbench.testbeds.qemu.boot.initramfs import initramfs
from vfbench.testbeds.qemu.boot.setup import GuestSetup
from vfbench.testbeds.qemu.parts.described import Kernel, Parts, Qemu
from vfbench.testbeds.qemu.parts.find import find_parts


def real_parts(kernel: str = "auto") -> Parts:
    """The parts that are there; skips the test, with the reason, where they are not. In CI that is a failure."""
    try:
        return find_parts(Settings(kernel=kernel))
    except UserError as missing:
        if os.environ.get("VFBENCH_REAL_GUESTS") == "required":
            pytest.fail(f"real guests are required here: {missing}")
        pytest.skip(f"no real Linux guest: {missing}")


def guest_setup(
    parts: Parts, folder: Path, *modules: str, agent: bool = False, **options: object
) -> GuestSetup:
    """A guest in ``folder`` with these modules in its initramfs."""
    archive = folder / "initramfs"
    archive.write_bytes(initramfs(parts, modules, agent=agent))
    return GuestSetup(parts, archive, folder / "guest", **options)  # type: ignore[arg-type]


def made_up_parts(folder: Path, qemu: str = "#!/bin/sh\nexit 3\n") -> Parts:
    """A QEMU that is a shell script, and a kernel with three modules, one of which needs another."""
    drivers = folder / "modules/kernel/drivers"
    drivers.mkdir(parents=True)
    (drivers / "one.ko.xz").write_bytes(lzma.compress(module_file("the_other")))
    (drivers / "the-other.ko").write_bytes(module_file())
    (folder / "modules/modules.builtin").write_text("kernel/net/core/built-in-one.ko\n")
    for name in ("vmlinuz", "busybox"):
        (folder / name).write_bytes(name.encode())
    script = folder / "qemu"
    script.write_text(qemu)
    script.chmod(0o755)
    made = Qemu((str(script),), (11, 1, 0), frozenset({"virtio-net-pci"}), frozenset({"tcg"}))
    kernel = Kernel(folder / "vmlinuz", folder / "modules", "6.12.1-made-up")
    return Parts(made, (kernel,), folder / "busybox")


@cache
def module_file(*needs: str) -> bytes:
    """An object file with the section .modinfo that a kernel module has."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    text = f"license=GPL\0depends={','.join(needs)}\0name=made_up\0".encode()
    made = ir.Module("module")
    array = ir.ArrayType(ir.IntType(8), len(text))
    data = ir.GlobalVariable(made, array, "modinfo")
    data.section, data.global_constant, data.initializer = ".modinfo", True, array(bytearray(text))
    machine = llvm.Target.from_default_triple().create_target_machine()
    return bytes(machine.emit_object(llvm.parse_assembly(str(made))))


def booted(guest: Guest) -> Guest:
    """The guest, once its init runs."""
    guest.wait_until_booted()
    return guest
