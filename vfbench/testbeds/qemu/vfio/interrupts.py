"""MSI-X of the VF: causes, masks, auto-mask and throttle (82599 datasheet, 7.3 and 9.3.4)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from vfbench.testbeds.qemu.vfio.config_space import VECTORS

VTEICR, VTEICS, VTEIMS, VTEIMC, VTEIAC, VTEIAM = 0x100, 0x104, 0x108, 0x10C, 0x110, 0x114
VTIVAR, VTIVAR_MISC = 0x120, 0x140
VTEITR = 0x820
_IVAR_VALID = 0x80
_IVAR_VECTOR = 0x7F
_EITR_INTERVAL = 0xFF8
_PS_PER_EITR_UNIT = 250_000
"""Bits 3 to 11 count 2 us each."""
_SIGNAL = (1).to_bytes(8, "little")


class Interrupts:
    """One VF's vectors; ``eventfds`` are QEMU's, by vector."""

    def __init__(self) -> None:
        self.eventfds: dict[int, int] = {}
        self.sent = 0
        self.reset()

    def reset(self) -> None:
        """As a function-level reset leaves the registers; the eventfds are QEMU's and stay."""
        self.cause = self.mask = self.auto_mask = self.auto_clear = 0
        self.ivar = [0, 0, 0, 0]
        self.ivar_misc = 0
        self.throttle = [0] * VECTORS

    def set_eventfds(self, first: int, descriptors: Sequence[int]) -> None:
        """SET_IRQS with descriptors: those given before for the same vectors are closed."""
        for vector, descriptor in enumerate(descriptors, first):
            if vector in self.eventfds:
                os.close(self.eventfds[vector])
            self.eventfds[vector] = descriptor

    def clear_eventfds(self) -> None:
        for descriptor in self.eventfds.values():
            os.close(descriptor)
        self.eventfds.clear()

    def vectors_of_queue(self, queue: int) -> tuple[int, ...]:
        """The vectors of a queue pair's receive and transmit cause (VTIVAR: four bytes for two pairs)."""
        pair = self.ivar[queue >> 1] >> (16 * (queue & 1))
        entries = {pair & 0xFF, pair >> 8 & 0xFF}
        return tuple(sorted(entry & _IVAR_VECTOR for entry in entries if entry & _IVAR_VALID))

    def interval_ps_of_queue(self, queue: int) -> int:
        """Least time between two interrupts of a queue pair (VTEITR of its vector)."""
        vectors = self.vectors_of_queue(queue)
        return max(
            ((self.throttle[v] & _EITR_INTERVAL) * _PS_PER_EITR_UNIT for v in vectors if v < VECTORS),
            default=0,
        )

    def raise_queue(self, queue: int) -> None:
        """A queue pair wants the driver."""
        for vector in self.vectors_of_queue(queue):
            self.cause |= 1 << vector
        self.fire()

    def fire(self) -> None:
        """Send every vector that has a cause and is not masked."""
        due = self.cause & self.mask
        for vector in range(VECTORS):
            if due >> vector & 1:
                self.cause &= ~(1 << vector)
                self.mask &= ~(self.auto_mask & (1 << vector))
                self._signal(vector)

    @property
    def driver_waits(self) -> bool:
        """Whether the driver has taken all that it was interrupted for: nothing is pending, and it unmasked again."""
        return self.cause == 0 and self.mask & self.auto_mask == self.auto_mask

    def _signal(self, vector: int) -> None:
        if vector in self.eventfds:
            os.write(self.eventfds[vector], _SIGNAL)
            self.sent += 1

    def read(self, offset: int) -> int | None:
        """A register of this part, or None for one that isn't. VTEICR is cleared by reading."""
        if offset == VTEICR:
            cause, self.cause = self.cause, 0
            return cause
        if offset in (VTEIMS, VTEIMC):
            return self.mask
        if offset == VTEIAC:
            return self.auto_clear
        if offset == VTEIAM:
            return self.auto_mask
        if VTIVAR <= offset < VTIVAR + 4 * len(self.ivar):
            return self.ivar[(offset - VTIVAR) >> 2]
        if offset == VTIVAR_MISC:
            return self.ivar_misc
        if VTEITR <= offset < VTEITR + 4 * VECTORS:
            return self.throttle[(offset - VTEITR) >> 2]
        return None

    def write(self, offset: int, value: int) -> bool:
        """Write a register of this part; False for one that isn't."""
        if offset == VTEICR:
            self.cause &= ~value
        elif offset == VTEICS:
            self.cause |= value
            self.fire()
        elif offset == VTEIMS:
            self.mask |= value
            self.fire()
        elif offset == VTEIMC:
            self.mask &= ~value
        elif offset == VTEIAC:
            self.auto_clear = value
        elif offset == VTEIAM:
            self.auto_mask = value
        elif VTIVAR <= offset < VTIVAR + 4 * len(self.ivar):
            self.ivar[(offset - VTIVAR) >> 2] = value
        elif offset == VTIVAR_MISC:
            self.ivar_misc = value
        elif VTEITR <= offset < VTEITR + 4 * VECTORS:
            self.throttle[(offset - VTEITR) >> 2] = value
        else:
            return False
        return True

    def state(self) -> dict[str, object]:
        """What a destination must know; eventfds and the MSI-X table are QEMU's."""
        names = ("cause", "mask", "auto_mask", "auto_clear", "ivar", "ivar_misc", "throttle")
        return {name: getattr(self, name) for name in names}

    def load(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, list(value) if isinstance(value, list) else value)
