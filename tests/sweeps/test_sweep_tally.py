"""What became of a sweep's cells, in numbers."""

from __future__ import annotations

from support import fakes

from vfbench.records import Outcome
from vfbench.sweeps.cells import Cell
from vfbench.sweeps.sweep import DoneCell, Tally


def test_outcomes_are_counted_by_state() -> None:
    cell = Cell(made := fakes.experiment(), made.digest, ("g",), (), 60.0)
    bad = Outcome("timed-out", "still running after 5 s")
    tally = Tally(done=[DoneCell(cell, fakes.outcome()), DoneCell(cell, bad)])
    assert dict(tally.states()) == {"ok": 1, "not-converged": 0, "failed": 0, "timed-out": 1, "skipped": 0}
    assert [each.outcome for each in tally.bad()] == [bad]
