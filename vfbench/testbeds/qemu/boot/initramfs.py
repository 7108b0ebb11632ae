"""The guest's whole user space: busybox, drivers, the suite's program, and an init that does what the host says.

The host speaks to it over the second serial port, a line of shell at a time; the first is the kernel's console, to
which init writes a blank line a second: by that the host knows that the guest lives. (It waits by the shell's own
``read``, which needs no process, so that next to no memory is dirtied.)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from vfbench.testbeds.qemu.boot.cpio import Entry, archive, character_device, folder, plain_file, program
from vfbench.testbeds.qemu.parts.compiled import compiled
from vfbench.testbeds.qemu.parts.described import Kernel, Parts
from vfbench.testbeds.qemu.parts.modules import in_loading_order

FOLDERS = ("bin", "dev", "proc", "sys", "modules", "tmp", "run")
AGENT = "bin/agent"
READY = "@ready"
BEAT_S = 1
DONE = "@done"
LOAD = "load"
INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tracefs tracefs /sys/kernel/tracing
/bin/busybox --install -s /bin
export PATH=/bin
ulimit -l unlimited
{LOAD}() {{ for name in $(cat /modules/$1.needs); do
  test -d /sys/module/$name || insmod /modules/$name.ko || return 1
done; }}
mkfifo /run/beat
( exec 3<>/run/beat >/dev/ttyS0; while :; do echo; read -r -t {BEAT_S} never <&3; done ) &
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo
echo {READY} >/dev/ttyS0
echo {READY}
while read -r line; do
  eval "$line"
  echo "{DONE} $?"
done
poweroff -f
"""


def initramfs(
    parts: Parts,
    modules: Iterable[str],
    *,
    kernel: Kernel | None = None,
    agent: bool = False,
    extra: Iterable[Entry] = (),
) -> bytes:
    """The archive with ``modules`` of ``kernel`` (default: the chosen one) and all that they need.

    In the guest the shell function ``load NAME`` loads one of ``modules`` after what it needs. UserError for a module
    that is missing, and with ``agent`` where the suite's own program can't be compiled.
    """
    own = program(AGENT, compiled(parts.compiler)) if agent else None
    return archive(
        (
            *map(folder, FOLDERS),
            character_device("dev/console", 5, 1),
            program("bin/busybox", parts.busybox.read_bytes()),
            program("init", INIT.encode()),
            *_modules((kernel or parts.kernel).modules, tuple(modules)),
            *((own,) if own else ()),
            *extra,
        )
    )


@lru_cache(maxsize=16)
def _modules(place: Path, names: tuple[str, ...]) -> tuple[Entry, ...]:
    """Unpacked, because the kernel's insmod wants them so, each beside the order in which it is loaded."""
    contents: dict[str, bytes] = {}
    needs: list[Entry] = []
    for name in names:
        ordered = in_loading_order(place, [name])
        contents.update(ordered)
        needs.append(plain_file(f"modules/{name}.needs", " ".join(each for each, _ in ordered).encode()))
    return (*(plain_file(f"modules/{name}.ko", content) for name, content in contents.items()), *needs)
