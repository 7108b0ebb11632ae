"""The guest's whole user space: busybox, the drivers under test, and an init that does what the host says.

The host speaks to it over the second serial port, a line of shell at a time; the first is the kernel's console.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from pathlib import Path

from vfbench.errors import UserError
from vfbench.testbeds.qemu.boot.cpio import archive, character_device, folder, plain_file, program
from vfbench.validation.linux.parts import Parts

FOLDERS = ("bin", "dev", "proc", "sys", "modules", "tmp")
READY = "@ready"
DONE = "@done"
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tracefs tracefs /sys/kernel/tracing
/bin/busybox --install -s /bin
export PATH=/bin
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo
echo {READY}
while read -r line; do
  eval "$line"
  echo "{DONE} $?"
done
poweroff -f
"""


def initramfs(parts: Parts, modules: Iterable[str]) -> bytes:
    """The archive with ``modules``, unpacked because the kernel's insmod wants them so; UserError if one is missing."""
    return archive(
        (
            *map(folder, FOLDERS),
            character_device("dev/console", 5, 1),
            program("bin/busybox", parts.busybox.read_bytes()),
            program("init", INIT.encode()),
            *(plain_file(f"modules/{name}.ko", module(parts.modules, name)) for name in modules),
        )
    )


def module(folder: Path, name: str) -> bytes:
    """The module called ``name`` below ``folder``, unpacked."""
    spellings = {name, name.replace("-", "_"), name.replace("_", "-")}
    for path in (p for spelling in sorted(spellings) for p in folder.rglob(f"{spelling}.ko*")):
        if path.suffix == ".ko":
            return path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(path.read_bytes())
    raise UserError(f"--modules: {folder} has no {name}.ko or {name}.ko.xz")
