"""Searches over experiments: the highest rate without loss, and the costs that turn a verdict."""
