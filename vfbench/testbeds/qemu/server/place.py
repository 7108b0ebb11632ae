"""One of the two places where the guest may be: its VF, what is mapped for it, and the sockets for QEMU."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, BaseSelector
from typing import Any, Protocol

import numpy as np

from vfbench.machine.iommu.table import WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.testbeds.qemu.server.dirty_log import DirtyLog
from vfbench.testbeds.qemu.server.virtio_device import VirtioDevice
from vfbench.testbeds.qemu.sockets import Hangup
from vfbench.testbeds.qemu.vfio.connection import Connection
from vfbench.testbeds.qemu.vfio.dma_map import DmaMap
from vfbench.testbeds.qemu.vfio.virtual_function import VirtualFunction
from vfbench.testbeds.qemu.vhost.connection import RX, Backend, Region, VhostConnection

BACKLOG = 8
VF_SOCKET, VHOST_SOCKET = "vf", "vhost"


class Served(Protocol):
    """A connection of either protocol."""

    socket: socket.socket

    @property
    def negotiated(self) -> bool: ...

    def serve(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Tracking:
    """Who tells QEMU what the VF writes, through the log of the vhost-user device beside it.

    device: the VF itself, page by page, and it stands still once QEMU stops that device.
    unmaps: the hypervisor, when a page's mapping ends, and for what is still mapped when that device is stopped.
    """

    device: bool = False
    unmaps: bool = False


class Listener:
    """Takes every connection to one socket and keeps the first that speaks its protocol; others are refused."""

    def __init__(
        self,
        path: Path,
        selector: BaseSelector,
        make: Callable[[socket.socket], Served],
        gone: Callable[[], None],
        events: list[str],
    ) -> None:
        self._selector, self._make, self._gone, self._events = selector, make, gone, events
        self._name = f"{path.parent.name}'s socket {path.name}"
        self._connections: list[Served] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(BACKLOG)
        self._socket.setblocking(False)
        selector.register(self._socket, EVENT_READ, self._accept)

    @property
    def connection(self) -> Served | None:
        """QEMU's, once it has shown that it speaks the protocol."""
        return next((each for each in self._connections if each.negotiated), None)

    def close(self) -> None:
        """Close the socket and every connection."""
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.unregister(self._socket)
        self._socket.close()

    def _accept(self) -> None:
        peer, _ = self._socket.accept()
        if self.connection is not None:
            peer.close()
            self._events.append(f"a second client at {self._name} was refused")
            return
        connection = self._make(peer)
        self._connections.append(connection)
        self._selector.register(peer, EVENT_READ, lambda: self._serve(connection))

    def _serve(self, connection: Served) -> None:
        current = self.connection
        if current is not None and current is not connection:
            self._events.append(f"a second client at {self._name} was refused")
            self._drop(connection)
            return
        try:
            connection.serve()
        except Hangup as hangup:
            negotiated = connection.negotiated
            self._drop(connection)
            if negotiated:
                self._gone()
            else:
                self._events.append(f"a stranger at {self._name} was hung up on: {hangup}")

    def _drop(self, connection: Served) -> None:
        self._selector.unregister(connection.socket)
        connection.close()
        self._connections.remove(connection)


class LogDevice(Backend):
    """The idle device whose dirty log tells of the VF's writes."""

    def __init__(self, vf: VirtualFunction, dma: DmaMap, log: DirtyLog, tracking: Tracking) -> None:
        self._vf, self._dma, self._log, self._tracking = vf, dma, log, tracking

    def log_given(self, log: Any, regions: tuple[Region, ...]) -> None:
        self._log.adopt(log, regions)

    def ring_stopped(self, ring: int) -> int | None:
        """QEMU takes the log a last time after this: from now on nothing may be written that it would not see.

        Without a log it is a guest that was merely paused, whose device goes on.
        """
        if ring == RX and self._log.active:
            if self._tracking.device or self._tracking.unmaps:
                self._vf.stop()
            if self._tracking.unmaps:
                self._log.mark(self._dma.mapped_pages(WRITE))
        return None


class Place:
    """``folder`` takes its sockets; ``events`` are connections that were refused or lost.

    ``virtio_port`` and ``virtio_device`` are the records of a virtio-net that carries packets; where the VF is all that
    the guest has (``primary`` is ``vf``), the vhost-user device is idle and lends its log.
    """

    def __init__(
        self,
        folder: Path,
        vf: VirtualFunction,
        selector: BaseSelector,
        clock: Callable[[], int],
        tracking: Tracking,
        primary: str,
        virtio_records: tuple[Any, Any],
    ) -> None:
        self.name, self.vf = folder.name, vf
        self.log = DirtyLog(vf.devices, device_sets=tracking.device)
        self.events: list[str] = []
        self.device_wrote = np.zeros(0, dtype=np.uint8)
        """A byte for each page of the guest's memory: the device has written it since ``take_round``.

        ``_written_since`` are those before, of the present phase, and ``_written_before`` those of all phases.
        """
        self._written_since = np.zeros(0, dtype=np.uint8)
        self._written_before = np.zeros(0, dtype=np.uint8)
        self._tracking, self._clock = tracking, clock
        self._primary = primary
        pair, device = virtio_records
        self.dma = DmaMap([*vf.devices, device])
        virtio_log = DirtyLog([device], device_sets=True)
        self.virtio = VirtioDevice(pair, device, virtio_log, self.dma.memory_of, selector, clock)
        self.dma.memory_found = self._watch_pages
        if tracking.unmaps:
            self.dma.page_unmapped = self.log.mark
        self._listeners = (
            Listener(folder / VF_SOCKET, selector, self._vf_client, self._vf_gone, self.events),
            Listener(folder / VHOST_SOCKET, selector, self._vhost_client, self._vhost_gone, self.events),
        )

    @property
    def connected(self) -> bool:
        """Whether QEMU has the VF."""
        return self._listeners[0].connection is not None

    def close(self) -> None:
        """Close sockets and connections."""
        for listener in self._listeners:
            listener.close()

    def ring_pages(self) -> list[int]:
        """Pages of the guest's memory that hold a ring in use."""
        pages: set[int] = set()
        for iova, size_bytes in self.vf.rings():
            for page_iova in range(iova, iova + size_bytes, PAGE_BYTES):
                offset = self.dma.offset_of(page_iova)
                if offset is not None:
                    pages.add(offset // PAGE_BYTES)
        return sorted(pages)

    def _vf_client(self, peer: socket.socket) -> Served:
        return Connection(peer, self.vf, self.dma, self._clock)

    def _vf_gone(self) -> None:
        self.vf.stop()
        self.vf.unplug()
        self.dma.unmap_all()

    def _vhost_client(self, peer: socket.socket) -> Served:
        if self._primary == "vf":
            return VhostConnection(peer, LogDevice(self.vf, self.dma, self.log, self._tracking))
        connection = VhostConnection(peer, self.virtio)
        self.virtio.connection = connection
        return connection

    def _vhost_gone(self) -> None:
        self.log.adopt(None, ())
        self.virtio.gone()

    @property
    def uses_vf(self) -> bool:
        """Whether packets go to the VF: always, never, or, with virtio-net as its standby, while a driver has it."""
        return self._primary == "vf" or (self._primary == "vf-with-standby" and self.vf.queues_in_use > 0)

    @property
    def ever_written(self) -> Any:
        """A bool for each page: a device has written it."""
        return (self.device_wrote | self._written_since | self._written_before) != 0

    def take_round(self) -> int:
        """Pages written since the last time, or since ``take_written``."""
        count = int(np.count_nonzero(self.device_wrote))
        self._written_since |= self.device_wrote
        self.device_wrote[:] = 0
        return count

    def take_written(self) -> int:
        """Pages written since the last time, whatever ``take_round`` took of them."""
        self.take_round()
        count = int(np.count_nonzero(self._written_since))
        self._written_before |= self._written_since
        self._written_since[:] = 0
        return count

    def start(self) -> None:
        """The VF moves packets, if there is one; vhost's rings are QEMU's to start."""
        self.vf.start()

    def stop(self) -> None:
        """Nothing moves from now on."""
        self.vf.stop()
        self.virtio.stop()

    def send_interrupts(self, now_ps: int) -> None:
        """What either device has asked for by now."""
        self.vf.send_interrupts(now_ps)
        self.virtio.send_interrupts(now_ps)

    def _watch_pages(self, size_bytes: int) -> None:
        self.device_wrote = np.zeros(size_bytes // PAGE_BYTES, dtype=np.uint8)
        self._written_since = np.zeros_like(self.device_wrote)
        self._written_before = np.zeros_like(self.device_wrote)
        for device in (*self.vf.devices, self.virtio.device):
            device.device_wrote = self.device_wrote.ctypes.data
