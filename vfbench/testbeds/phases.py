"""The phases of a run: what goes on, and an interval that ends where one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vfbench.testbeds.counting import Row


class Phased:
    """A timeline whose intervals lie in one phase each; ``rows`` has one for each that is over."""

    def __init__(self, phase: str) -> None:
        self._phase = phase
        self.rows: list[Row] = []

    @property
    def phase(self) -> str:
        """What is going on: warm-up, steady, migrating, blackout or after."""
        return self._phase

    @phase.setter
    def phase(self, phase: str) -> None:
        if phase != self._phase:
            self.finish()
            self._phase = phase

    def finish(self) -> None:
        """End the interval under way."""
        raise NotImplementedError
