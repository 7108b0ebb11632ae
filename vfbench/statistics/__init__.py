"""Medians with confidence intervals, rank tests, and a warning where the spread is too wide to tell."""
