"""The twelve claims of October 2015, each with the rule by which records settle it.

``evaluate(runs, rounds, intervals)`` takes the frames of ``vfbench.records``. A rule selects runs by what their
strategy declares of its mechanism (``vfbench.records.TRAITS``) and by settings, never by a strategy's name, so a
strategy of somebody else's takes part. Testbeds and profiles are never pooled: each gets verdicts of its own.
"""

from __future__ import annotations

from vfbench.verdicts.claims import CLAIMS, chosen_claims, evaluate
from vfbench.verdicts.verdict import OUTCOMES, Claim, Figure, Verdict

__all__ = ["CLAIMS", "OUTCOMES", "Claim", "Figure", "Verdict", "chosen_claims", "evaluate"]
