"""Loaded by every worker process of a local cluster (Dask's `preload`)."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Ctrl-C goes to all processes of a terminal: the one that began the sweep ends it, not each its own cell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
