"""Loaded by every worker process of a local cluster (Dask's `preload`)."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """What stops a sweep goes to all processes of a terminal: the one that began it ends it, not each its own cell.

    Up to here these signals were blocked, as they were where the process was started.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
