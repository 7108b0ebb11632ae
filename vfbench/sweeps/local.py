"""A Dask cluster on this machine that is the sweep's own: nobody else gets in, and nothing of it is left.

Scheduler, nannies and workers speak TLS with a key that is made for the run and exists in these processes' memory
only; each side asks for the other's certificate, so a process of another user gets no further than the handshake. The
pages and figures that Dask offers over HTTP are not offered. Loopback by itself is no lock: any user of the machine
could have the sweep's user run code.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, Worker
from distributed.deploy.spec import SpecCluster
from distributed.security import Security

from vfbench.errors import UserError
from vfbench.stopping import held_back

LOOPBACK = "127.0.0.1"
CLOSE_S = 2.0
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
}
"""Dask watches its processes many times a second, for pages that nobody opens here; the cells need the time."""


class PrivateScheduler(Scheduler):  # type: ignore[misc]  # no annotations that mypy could use
    """Dask's, without its HTTP server, which asks nobody who he is."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen to nobody."""


class PrivateWorker(Worker):  # type: ignore[misc]
    """Dask's, without its HTTP server."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Listen to nobody."""


@contextmanager
def local_cluster(workers: int) -> Iterator[Client]:
    """Processes of one thread each on this machine, which end with the block, however it ends.

    A signal that stops this process waits while the scheduler starts or all closes, and not while workers start.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(QUIET))
        folder = stack.enter_context(_own_folder())
        with held_back():
            cluster = SpecCluster(**_specification(folder))
            stack.callback(_close, cluster)
            client = stack.enter_context(Client(cluster))
        try:
            # By the scheduler's thread: it was begun with the signals held back, and so they are in the workers.
            cluster.scale(workers)
            client.wait_for_workers(workers)
            yield client
        except BaseException:
            _end_workers(cluster)
            raise


def _specification(folder: str) -> dict[str, Any]:
    security = Security.temporary()
    common = {"protocol": "tls", "security": security, "host": LOOPBACK}
    nanny = {
        **common,
        "nthreads": 1,
        "memory_limit": 0,
        "worker_class": PrivateWorker,
        "local_directory": folder,
        "preload": ["vfbench.sweeps.worker"],
        "silence_logs": logging.CRITICAL,
    }
    return {
        "scheduler": {"cls": PrivateScheduler, "options": {**common, "port": 0, "dashboard": False}},
        "worker": {"cls": Nanny, "options": nanny},
        "security": security,
        "silence_logs": logging.CRITICAL,
    }


@contextmanager
def _own_folder() -> Iterator[str]:
    """For what the workers put on disk: Dask's own choice has a name in /tmp that anybody can guess."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="vfbench-sweep-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UserError(
            f"no folder for temporary files can be made ({error.strerror}): set TMPDIR"
        ) from error
    with folder as name:
        yield name


def _end_workers(cluster: SpecCluster) -> None:
    """At once: a worker that is asked to close first ends the cell that it runs, or its start."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
    _kill_processes()


def _kill_processes() -> None:
    """This process begins no others by `multiprocessing` than its workers."""
    for process in multiprocessing.active_children():
        process.kill()
        process.join()


def _close(cluster: SpecCluster) -> None:
    with held_back():
        with contextlib.suppress(TimeoutError):
            cluster.close(timeout=CLOSE_S)
        # One whose start was under way may have begun meanwhile.
        _kill_processes()
