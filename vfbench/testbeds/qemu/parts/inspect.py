"""What a QEMU says of itself: version, devices, accelerators. Each question starts it once, for a tenth of a second."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from functools import lru_cache

from vfbench.errors import UserError
from vfbench.testbeds.qemu.parts.described import Qemu

VERSION = re.compile(r"QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?")
DEVICE = re.compile(r'^name "([^"]+)"', re.MULTILINE)
ANSWER_S = 8.0


@lru_cache(maxsize=8)
def inspected(command: tuple[str, ...], environment: tuple[tuple[str, str], ...] = ()) -> Qemu:
    """The QEMU that ``command`` starts; UserError for what does not run or is no QEMU for x86-64."""
    found = VERSION.search(_says(command, environment, "--version"))
    if found is None:
        raise UserError(f"{command[-1]} is no QEMU: it does not say `QEMU emulator version`")
    devices = frozenset(DEVICE.findall(_says(command, environment, "-device", "help")))
    if "virtio-net-pci" not in devices:
        raise UserError(f"{command[-1]} emulates no PC: it has no virtio-net-pci; name a qemu-system-x86_64")
    accelerators = frozenset(_says(command, environment, "-accel", "help").split()[1:])
    version = (int(found[1]), int(found[2]), int(found[3] or 0))
    return Qemu(command, version, devices, accelerators & {"tcg", "kvm"}, environment)


def _says(command: tuple[str, ...], environment: tuple[tuple[str, str], ...], *asked: str) -> str:
    try:
        process = subprocess.Popen(
            [*command, *asked],
            env={**os.environ, **dict(environment)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # what it may have started itself is ended with it
        )
    except OSError as error:
        raise UserError(f"QEMU does not start: {error}") from None
    with process:
        try:
            said, complaint = process.communicate(timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise UserError(
                f"QEMU does not answer `{command[-1]} {' '.join(asked)}` within {ANSWER_S:.0f} s; name another one"
            ) from None
    if process.returncode != 0:
        last = (complaint.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"QEMU does not start ({command[-1]}): {last}")
    return said
