"""QEMU processes, run and asked through QMP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.parts import find as parts
from vfbench.testbeds.qemu.parts import prefix
from vfbench.testbeds.qemu.parts.described import Qemu
from vfbench.testbeds.qemu.parts.find import AUTO
from vfbench.validation.qemu.guest import COUNT_AT, READY

_PRIORITY: Final = ("nice", "-n", "-15")
"""What else runs here is not to slow QEMU down; where the user may not do this, `nice` says so and goes on."""
_STEAL: Final = 8
"""The field of a processor's line in /proc/stat, its name counted (proc_stat(5))."""
_CONNECT_S: Final = 20.0
_READY_S: Final = 60.0


def find_qemu(binary: str = AUTO) -> Qemu:
    """The QEMU that was named; ``auto``: the fetched one, else that on the PATH. UserError where there is none."""
    unpacked = prefix.PREFIX if prefix.manifest(prefix.PREFIX) is not None else None
    return parts.find_qemu(binary, unpacked, "--qemu")


def stolen_s() -> float:
    """Since it booted, for how long this machine's processors wanted to run and their hypervisor ran others."""
    try:
        total = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
        return int(total[_STEAL]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


class Machine:
    """One QEMU process and the QMP connection to it."""

    def __init__(self, client: Any, process_id: int) -> None:
        self._client = client
        self._process_id = process_id

    def waited_s(self) -> float:
        """How long QEMU's threads, taken together, were ready to run and had no CPU; 0 where Linux doesn't say."""
        waited_ns = 0
        for thread in Path(f"/proc/{self._process_id}/task").glob("*/schedstat"):
            with suppress(OSError):  # a thread that has just ended
                waited_ns += int(thread.read_text().split()[1])
        return waited_ns / 1e9

    async def ask(self, command: str, **arguments: Any) -> Any:
        """What QEMU answers; RunFailed with QEMU's words if it refuses."""
        from qemu.qmp import QMPError

        try:
            return await self._client.execute(command, arguments or None)
        except (QMPError, EOFError, OSError) as error:
            raise RunFailed(f"QEMU: {command}: {error}") from error

    async def words(self, address: int, count: int) -> list[int]:
        """32-bit words of guest-physical memory."""
        text = await self.ask("human-monitor-command", **{"command-line": f"xp /{count}xw {address:#x}"})
        lines = [line.partition(":")[2] for line in text.splitlines()]
        return [int(word, 16) for line in lines for word in line.split()]

    async def stores(self) -> int:
        """How many pages the guest says that it dirtied so far."""
        return (await self.words(COUNT_AT, 1))[0]

    async def until_ready(self) -> None:
        """Return once the guest has set itself up; RunFailed if it doesn't."""
        for _ in range(int(_READY_S / 0.1)):
            if (await self.words(COUNT_AT, 2))[1] == READY:
                return
            await asyncio.sleep(0.1)
        raise RunFailed(f"the guest was not ready after {_READY_S:g} s")


@asynccontextmanager
async def started(
    qemu: Qemu, folder: Path, name: str, boot: Path, memory_bytes: int, *, incoming: bool = False
) -> AsyncIterator[Machine]:
    """A running QEMU of this kind that boots `boot` (or waits for a migration); killed at the end, whatever happens."""
    from qemu.qmp import ConnectError, QMPClient

    socket = folder / f"{name}.qmp"
    command = [*_PRIORITY, *qemu.command, *_firmware(qemu), *_arguments(socket, boot, memory_bytes, incoming)]
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **dict(qemu.environment)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, process)
        client = QMPClient(name)
        for _ in range(int(_CONNECT_S / 0.05)):
            if process.returncode is not None:
                break
            try:
                await client.connect(str(socket))
            except ConnectError:
                await asyncio.sleep(0.05)
            else:
                stack.push_async_callback(_disconnect, client)
                yield Machine(client, process.pid)
                return
        words = (folder / f"{name}.log").read_text(errors="replace").split()
        raise RunFailed(f"QEMU did not start: {' '.join(words) or 'no word from it'}")


def _arguments(socket: Path, boot: Path, memory_bytes: int, incoming: bool) -> list[str]:
    arguments = ["-machine", "pc", "-accel", "tcg", "-m", f"{memory_bytes >> 20}M", "-nodefaults"]
    arguments += ["-display", "none", "-vga", "none", "-qmp", f"unix:{socket},server=on,wait=off"]
    arguments += ["-drive", f"if=floppy,format=raw,readonly=on,file={boot}"]
    return [*arguments, "-incoming", "defer"] if incoming else arguments


def _firmware(qemu: Qemu) -> list[str]:
    """Where a QEMU that was named, and was only unpacked, finds its BIOS; the fetched one's command says it."""
    if len(qemu.command) > 1:
        return []
    share = Path(qemu.command[0]).resolve().parents[1] / "share"
    folders = (share / name for name in ("qemu", "seabios"))
    return [word for folder in folders if folder.is_dir() for word in ("-L", str(folder))]


async def _disconnect(client: Any) -> None:
    from qemu.qmp import QMPError

    with suppress(QMPError, EOFError, OSError):  # the process is killed next
        await client.disconnect()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
