"""A guest that runs guests: igb with SR-IOV behind an emulated VT-d, KVM by emulated SVM, and QEMU inside."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vfbench.testbeds.qemu.boot import cpio
from vfbench.testbeds.qemu.boot.guest import Guest, load_modules
from vfbench.testbeds.qemu.boot.initramfs import READY, initramfs
from vfbench.testbeds.qemu.boot.setup import GuestSetup
from vfbench.testbeds.qemu.parts import prefix
from vfbench.testbeds.qemu.parts.described import Parts

MIB = 1 << 20
MODULES = ("igb", "kvm_amd", "vfio_pci", "vfio_iommu_type1")
DEVICES = (
    *("-device", "intel-iommu,intremap=off"),
    *("-device", "pcie-root-port,id=igbport,chassis=1,slot=1"),
    *("-device", "igb,bus=igbport"),
)
VF = "0000:01:10.0"
CPU = "EPYC-v4,+svm,+npt"
INNER_MIB = 160
BOOT_S, ANSWER_S, LOOK_S = 300.0, 60.0, 2.0
FIRMWARE = (
    "usr/share/seabios/bios-256k.bin",
    "usr/share/qemu/kvmvapic.bin",
    "usr/share/qemu/linuxboot_dma.bin",
)


def inner_files(parts: Parts) -> list[cpio.Entry]:
    """QEMU of the prefix with the libraries that it loads, its firmware, and a kernel with a user space."""
    own = prefix.PREFIX
    loader, _, libraries, program = prefix.started_by_own_loader(own, prefix.QEMU)
    listed = subprocess.run(
        [loader, "--library-path", libraries, "--list", program], capture_output=True, text=True, check=True
    )
    found = [Path(line.split("=>")[1].split()[0]) for line in listed.stdout.splitlines() if "=>" in line]
    return [
        *map(cpio.folder, ("inner", "inner/lib", "inner/firmware")),
        cpio.program("inner/lib/ld.so", Path(loader).read_bytes()),
        *(cpio.program(f"inner/lib/{path.name}", path.read_bytes()) for path in found if path.is_file()),
        cpio.program("inner/qemu", Path(program).read_bytes()),
        *(
            cpio.plain_file(f"inner/firmware/{Path(name).name}", (own / name).read_bytes())
            for name in FIRMWARE
        ),
        cpio.plain_file("inner/vmlinuz", parts.kernel.image.read_bytes()),
        cpio.plain_file("inner/initrd", initramfs(parts, ())),
    ]


def nested_setup(parts: Parts, folder: Path) -> GuestSetup:
    """The outer guest, in ``folder``."""
    archive = folder / "initramfs"
    archive.write_bytes(initramfs(parts, MODULES, extra=inner_files(parts)))
    return GuestSetup(
        *(parts, archive, folder / "guest"),
        devices=DEVICES,
        kernel_options="intel_iommu=on",
        cpu=CPU,
        vcpus=2,
        memory_bytes=1536 * MIB,
    )


def give_vf_to_vfio(guest: Guest) -> None:
    """Make a VF, and bind it to the kernel's own vfio-pci."""
    load_modules(guest, *MODULES)
    guest.ask("echo 1 >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
    guest.ask("echo 1 >/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs")
    guest.ask(f"echo vfio-pci >/sys/bus/pci/devices/{VF}/driver_override")
    guest.ask(f"echo {VF} >/sys/bus/pci/drivers_probe")
    guest.ask(f"test -e /sys/bus/pci/drivers/vfio-pci/{VF}")


class InnerQemu:
    """A QEMU in ``guest``, with its console and what QMP says in files there."""

    def __init__(self, guest: Guest, name: str, *options: str) -> None:
        self._guest, self.place = guest, f"/run/{name}"
        self._number = 0
        place = self.place
        guest.ask(f"mkdir {place}; mkfifo {place}/qmp.in {place}/qmp.out")
        guest.ask(f"cat {place}/qmp.out >{place}/said 2>&1 & true")
        command = (
            "/inner/lib/ld.so --library-path /inner/lib /inner/qemu -L /inner/firmware -nodefaults -display none "
            f"-no-user-config -machine pc -accel kvm -cpu host -m {INNER_MIB}M -kernel /inner/vmlinuz "
            f"-initrd /inner/initrd -append 'console=ttyS0 quiet' -serial file:{place}/console -serial null "
            f"-qmp pipe:{place}/qmp {' '.join(options)}"
        )
        guest.ask(f"{command} </dev/null >{place}/log 2>&1 & true")
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns; for an error its text."""
        self._number += 1
        asked = json.dumps({"execute": command, "arguments": arguments, "id": self._number})
        self._guest.ask(f"echo '{asked}' >{self.place}/qmp.in")
        found: list[str] = []

        def answered() -> bool:
            found[:] = self._guest.ask(f"grep '\"id\": {self._number}[,}}]' {self.place}/said || true")
            return bool(found)

        self.wait(answered, ANSWER_S, command)
        answer = json.loads(found[-1])
        return answer["return"] if "return" in answer else answer["error"]["desc"]

    def wait_until_booted(self) -> None:
        """Until init's first word is on its console."""
        self.wait(lambda: bool(self._guest.ask(f"grep {READY} {self.place}/console || true")), BOOT_S, "boot")

    def wait(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        """Look until ``done``; fails with what QEMU and its kernel said."""
        until = time.monotonic() + limit_s
        while not done():
            if time.monotonic() > until:
                said = self._guest.ask(f"cat {self.place}/log; tail -n 3 {self.place}/console")
                raise AssertionError(f"inner QEMU, {what}: nothing within {limit_s:.0f} s; it said {said}")
            time.sleep(LOOK_S)

    def events(self, name: str) -> list[str]:
        """The events of that name so far."""
        return self._guest.ask(f'grep \'"event": "{name}"\' {self.place}/said || true')
