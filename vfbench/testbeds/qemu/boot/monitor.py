"""QMP, and QEMU's qtest socket, as calls that wait.

``qemu.qmp`` is asyncio; a run is a sequence of steps. So its client lives in a thread of its own, which also stamps
every event with the monotonic clock when it comes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import QMPClient, QMPError

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.boot.sockets import CONNECT_S, LOOK_S, Lines

ANSWER_S = 8.0
MOST_TOGETHER = 256


@dataclass(frozen=True)
class Event:
    """A QMP event; ``time_s`` is monotonic."""

    time_s: float
    name: str
    data: dict[str, Any]


class Monitor:
    """QMP's client on the socket ``path``; RunFailed for an error that QEMU reports, and where it is gone."""

    def __init__(self, path: Path, name: str, ended: Callable[[], bool]) -> None:
        self.events: list[Event] = []
        self._name = name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"qmp-{name}", daemon=True)
        self._thread.start()
        try:
            self._call(self._connect(path, ended), CONNECT_S + 1)
        except BaseException:
            self._end_loop()
            raise

    def __call__(self, command: str, timeout_s: float = ANSWER_S, /, **arguments: Any) -> Any:
        """Carry out a command; a dash in an argument's name is given as an underscore."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self._call(self._client.execute(command, named or None), timeout_s, command)

    def wait_for(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Look until ``done`` is true; RunFailed, naming ``what`` did not happen, after ``timeout_s``."""
        until = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > until:
                raise RunFailed(f"the {self._name} QEMU: {what} did not happen within {timeout_s:.0f} s")
            time.sleep(0.002)

    def close(self) -> None:
        """Hang up; nothing to do where QEMU has."""
        with suppress(RunFailed):
            self._call(self._client.disconnect(), 2.0)
        self._end_loop()

    async def _connect(self, path: Path, ended: Callable[[], bool]) -> None:
        until = time.monotonic() + CONNECT_S
        while not path.exists() and not ended() and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
        while True:
            self._client = QMPClient(self._name)
            try:
                await self._client.connect(str(path))
            except QMPError as error:
                if ended() or time.monotonic() > until:
                    raise RunFailed(
                        f"the {self._name} QEMU does not answer at {path.name}: {error}"
                    ) from None
                await asyncio.sleep(LOOK_S)
            else:
                self._listening = asyncio.ensure_future(self._listen())
                return

    async def _listen(self) -> None:
        with self._client.listener() as listener:
            async for event in listener:
                self.events.append(Event(time.monotonic(), str(event["event"]), dict(event.get("data", {}))))

    def _call(self, work: Coroutine[Any, Any, Any], timeout_s: float, what: str = "connect") -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise RunFailed(
                f"the {self._name} QEMU did not answer `{what}` within {timeout_s:.0f} s"
            ) from None
        except EOFError:
            raise RunFailed(f"the {self._name} QEMU hung up") from None
        except (QMPError, OSError) as error:
            raise RunFailed(f"the {self._name} QEMU, asked for `{what}`: {error}") from None

    def _end_loop(self) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).exception(2.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2.0)
        self._loop.close()


async def _cancel_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Qtest:
    """QEMU's qtest socket: memory, ports and PCI configuration space of a guest, whether it runs or not.

    It works beside any accelerator. Source: QEMU, docs/devel/testing/qtest.rst and system/qtest.c.
    """

    def __init__(self, path: Path, name: str, ended: Callable[[], bool]) -> None:
        self._lines = Lines(path, f"the {name} QEMU's qtest", ended)

    def __call__(self, command: str, *numbers: int) -> int:
        """``readl ADDRESS``, ``writel ADDRESS VALUE``, ``inl PORT`` and so on; returns what was read, else 0."""
        self._lines.send(" ".join((command, *map(hex, numbers))))
        return self._answer()

    def many(self, commands: Sequence[str]) -> list[int]:
        """Commands sent together, so many that neither side waits for the other to read."""
        answers: list[int] = []
        for begin in range(0, len(commands), MOST_TOGETHER):
            together = commands[begin : begin + MOST_TOGETHER]
            for command in together:
                self._lines.send(command)
            answers += [self._answer() for _ in together]
        return answers

    def read_config(self, bus: int, offset: int, device: int = 0) -> int:
        """Four bytes of a PCI function's configuration space, by the ports 0xCF8 and 0xCFC."""
        self("outl", 0xCF8, 0x8000_0000 | bus << 16 | device << 11 | offset)
        return self("inl", 0xCFC)

    def write_config(self, bus: int, offset: int, value: int, device: int = 0) -> None:
        """Write four bytes of it."""
        self("outl", 0xCF8, 0x8000_0000 | bus << 16 | device << 11 | offset)
        self("outl", 0xCFC, value)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()

    def _answer(self) -> int:
        while True:
            line = self._lines.next(ANSWER_S)
            words = line.split()
            if words[:1] == ["OK"]:
                return int(words[1], 16) if len(words) > 1 else 0
            if words[:1] in (["FAIL"], ["ERR"]):
                raise RunFailed(f"{self._lines.who}: {line}")
