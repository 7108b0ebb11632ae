"""Virtual time: a modelled machine with real memory contents; deterministic, runs everywhere."""

from vfbench.testbeds.model.run import refusals, run

__all__ = ["refusals", "run"]
