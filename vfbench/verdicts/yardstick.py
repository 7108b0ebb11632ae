"""The yardstick for speed: the assigned VF with nothing in its way."""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell, Evidence, only_faults_of_the_stop
from vfbench.verdicts.kinds import is_plain_vf


def plain_vf(evidence: Evidence) -> list[Cell]:
    """Cells of the plain VF, however it is stopped; the strategy that does nothing about DMA comes first."""
    found = evidence.completed(is_plain_vf, faults=only_faults_of_the_stop)
    return sorted(found, key=lambda cell: cell["dma_visible_by"] != "none")
