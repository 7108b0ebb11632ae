"""Strategies that the suite knows nothing of."""
