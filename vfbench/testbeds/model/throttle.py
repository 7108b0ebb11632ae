"""vCPUs that auto-converge slows down: a slice of running, a sleep, in turns; the device works on meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vfbench.machine.cpu import sleep_until
from vfbench.migration.auto_converge import SLICE_PS, asleep_ps

if TYPE_CHECKING:
    from vfbench.testbeds.model.machine import Machine

NEVER_PS: Final = 1 << 62


class Throttle:
    """All vCPUs of one machine. `next_ps` is when they fall asleep or wake next, `NEVER_PS` without a throttle."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._percent = 0
        self._asleep = False
        self.next_ps = NEVER_PS

    def set(self, percent: int) -> None:
        """Sleep for so much of the time (1 to 99 %), from now on where the vCPUs did not before."""
        began, self._percent = not self._percent, percent
        if began:
            self._sleep()

    def stop(self) -> None:
        """No more sleeps: the migration is over, or the guest is paused for good."""
        if self._asleep:
            self._wake()
        self._percent, self.next_ps = 0, NEVER_PS

    def turn(self) -> None:
        """What `next_ps` is the time of."""
        if self._asleep:
            self._wake()
        else:
            self._sleep()

    def _sleep(self) -> None:
        self._asleep = True
        self._pause(1)
        self.next_ps = self._machine.now_ps + asleep_ps(self._percent)

    def _wake(self) -> None:
        self._asleep = False
        for cpu in self._machine.cpus:
            sleep_until(cpu, self._machine.now_ps)
        self._pause(0)
        self.next_ps = self._machine.now_ps + SLICE_PS

    def _pause(self, paused: int) -> None:
        for pair in self._machine.pairs:
            pair.paused = paused
        self._machine.engine.writer_paused = paused
