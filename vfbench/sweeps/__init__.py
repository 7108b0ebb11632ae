"""Grids of experiments: read from a file, run on many workers, resumed where they stopped."""
