"""Costs measured on the machine at hand, written as a profile."""
