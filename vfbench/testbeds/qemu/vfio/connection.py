"""One QEMU's vfio-user connection: whole messages out of a socket, each carried out and answered."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from collections.abc import Callable

from vfbench.testbeds.qemu.sockets import Hangup, MessageStream
from vfbench.testbeds.qemu.vfio import messages as m
from vfbench.testbeds.qemu.vfio.config_space import BAR_BYTES, CONFIG_BYTES, VECTORS
from vfbench.testbeds.qemu.vfio.dma_map import DmaMap
from vfbench.testbeds.qemu.vfio.virtual_function import VirtualFunction

CAPABILITIES = {
    "max_msg_fds": 8,
    "max_data_xfer_size": m.MOST_BYTES,
    "pgsizes": 4096,
    "max_dma_maps": 65535,
}
_REGION_BYTES = {m.BAR0_REGION: BAR_BYTES, m.MSIX_REGION: BAR_BYTES, m.CONFIG_REGION: CONFIG_BYTES}
_READABLE_WRITABLE = 3
_RESETTABLE_PCI = 3
_EVENTFD, _FIXED_COUNT = 1, 8


class Refused(Exception):  # noqa: N818  an answer of the protocol
    """A message that is answered with an error number."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class Connection:
    """Reads what there is and never waits for more; ``Hangup`` ends it.

    ``clock`` gives the wall clock in ps. ``counts`` has the messages by command.
    """

    def __init__(
        self, peer: socket.socket, vf: VirtualFunction, dma: DmaMap, clock: Callable[[], int]
    ) -> None:
        self.socket = peer
        self._stream = MessageStream(peer, m.MOST_DESCRIPTORS)
        self._vf, self._dma, self._clock = vf, dma, clock
        self._descriptors: list[int] = []
        self.negotiated = False
        self.counts: dict[int, int] = {}

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def serve(self) -> None:
        """Take in what has come and carry out the messages that are complete."""
        while message := self._stream.next(m.HEADER.size, self._size_of):
            self._descriptors = self._stream.take_descriptors()
            try:
                self._carry_out(message)
            finally:
                for descriptor in self._descriptors:
                    os.close(descriptor)
                self._descriptors = []

    @staticmethod
    def _size_of(header: bytes) -> int:
        size: int = m.HEADER.unpack(header)[2]
        if not m.HEADER.size <= size <= m.MOST_BYTES:
            raise Hangup(f"a message of {size} bytes")
        return size

    def _carry_out(self, message: bytes) -> None:
        number, command, _, flags, _ = m.HEADER.unpack_from(message)
        if not self.negotiated and command != m.VERSION:
            raise Hangup(f"command {command} before a version was agreed on")
        self.counts[command] = self.counts.get(command, 0) + 1
        failure = 0
        try:
            reply = self._answer(command, message[m.HEADER.size :])
        except Refused as refusal:
            reply, failure = b"", refusal.number
        except ValueError as error:
            if not self.negotiated:
                raise Hangup(f"no vfio-user client: {error}") from None
            reply, failure = b"", errno.EINVAL
        if not flags & m.FLAG_NO_REPLY:
            self._reply(number, command, reply, failure)

    def _reply(self, number: int, command: int, payload: bytes, failure: int) -> None:
        flags = m.FLAG_REPLY | (m.FLAG_ERROR if failure else 0)
        header = m.HEADER.pack(number, command, m.HEADER.size + len(payload), flags, failure)
        self._stream.send(header + payload)

    def _answer(self, command: int, payload: bytes) -> bytes:
        handlers = {
            m.VERSION: self._version,
            m.DMA_MAP: self._dma_map,
            m.DMA_UNMAP: self._dma_unmap,
            m.DEVICE_GET_INFO: self._device_info,
            m.DEVICE_GET_REGION_INFO: self._region_info,
            m.DEVICE_GET_IRQ_INFO: self._irq_info,
            m.DEVICE_SET_IRQS: self._set_irqs,
            m.REGION_READ: self._region_read,
            m.REGION_WRITE: self._region_write,
            m.DEVICE_RESET: self._reset,
        }
        if command not in handlers:
            raise Refused(errno.ENOTSUP)
        try:
            return handlers[command](payload)
        except struct.error as error:
            raise ValueError(str(error)) from None

    # -- one function a command

    def _version(self, payload: bytes) -> bytes:
        major, minor = struct.unpack_from("<HH", payload)
        if major != 0:
            raise ValueError(f"version {major}.{minor}")
        offered = payload[4:].rstrip(b"\0")
        if offered:
            json.loads(offered)
        self.negotiated = True
        return struct.pack("<HH", 0, minor) + json.dumps({"capabilities": CAPABILITIES}).encode() + b"\0"

    def _dma_map(self, payload: bytes) -> bytes:
        _, access, offset, iova, size = m.DMA_MAP_STRUCT.unpack_from(payload)
        self._dma.map(iova, size, offset, access, self._descriptors[0] if self._descriptors else None)
        return b""

    def _dma_unmap(self, payload: bytes) -> bytes:
        _, flags, iova, size = m.DMA_UNMAP_STRUCT.unpack_from(payload)
        if flags & m.DMA_UNMAP_ALL:
            self._dma.unmap_all()
        else:
            self._dma.unmap(iova, size)
        return payload[: m.DMA_UNMAP_STRUCT.size]

    def _device_info(self, payload: bytes) -> bytes:
        return m.DEVICE_INFO.pack(m.DEVICE_INFO.size, _RESETTABLE_PCI, m.REGIONS, m.IRQ_TYPES)

    def _region_info(self, payload: bytes) -> bytes:
        index = struct.unpack_from("<III", payload)[2]
        if index >= m.REGIONS:
            raise ValueError(f"region {index}")
        size = _REGION_BYTES.get(index, 0)
        flags = _READABLE_WRITABLE if size else 0
        return m.REGION_INFO.pack(m.REGION_INFO.size, flags, index, 0, size, 0)

    def _irq_info(self, payload: bytes) -> bytes:
        index = struct.unpack_from("<III", payload)[2]
        if index >= m.IRQ_TYPES:
            raise ValueError(f"interrupt type {index}")
        if index == m.MSIX_IRQ:
            return m.IRQ_INFO.pack(m.IRQ_INFO.size, _EVENTFD | _FIXED_COUNT, index, VECTORS)
        return m.IRQ_INFO.pack(m.IRQ_INFO.size, _EVENTFD, index, 0)

    def _set_irqs(self, payload: bytes) -> bytes:
        _, flags, index, first, count = m.SET_IRQS.unpack_from(payload)
        if index >= m.IRQ_TYPES or (index == m.MSIX_IRQ and first + count > VECTORS):
            raise ValueError(f"interrupts {first} to {first + count} of type {index}")
        if index == m.MSIX_IRQ and flags & m.SET_IRQS_ACTION_TRIGGER:
            if flags & m.SET_IRQS_DATA_EVENTFD:
                self._vf.interrupts.set_eventfds(first, self._descriptors)
                self._descriptors = []
            elif count == 0:
                self._vf.interrupts.clear_eventfds()
        return b""

    def _region_read(self, payload: bytes) -> bytes:
        offset, region, count = m.REGION_ACCESS.unpack_from(payload)
        self._check_access(offset, region, count)
        if region == m.CONFIG_REGION:
            data = self._vf.read_config(offset, count)
        elif region == m.BAR0_REGION and count <= 4:
            value = self._vf.read(offset & ~3) >> 8 * (offset & 3)
            data = (value & ((1 << 8 * count) - 1)).to_bytes(count, "little")
        else:
            data = bytes(count)
        return payload[: m.REGION_ACCESS.size] + data

    def _region_write(self, payload: bytes) -> bytes:
        offset, region, count = m.REGION_ACCESS.unpack_from(payload)
        data = payload[m.REGION_ACCESS.size :]
        self._check_access(offset, region, count)
        if len(data) != count:
            raise ValueError(f"{len(data)} bytes where {count} were announced")
        if region == m.CONFIG_REGION:
            self._vf.write_config(offset, data)
        elif region == m.BAR0_REGION and count == 4 and offset % 4 == 0:
            self._vf.write(offset, int.from_bytes(data, "little"), self._clock())
        return payload[: m.REGION_ACCESS.size]

    @staticmethod
    def _check_access(offset: int, region: int, count: int) -> None:
        size = _REGION_BYTES.get(region, 0)
        if count > m.MOST_BYTES or offset + count > size:
            raise ValueError(f"{count} bytes at {offset:#x} of region {region}, which has {size:#x}")

    def _reset(self, payload: bytes) -> bytes:
        self._vf.reset()
        return b""
