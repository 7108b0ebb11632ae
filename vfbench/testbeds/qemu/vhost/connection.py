"""One QEMU's vhost-user connection: the state of two rings, the memory table, and the shared log."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vfbench.testbeds.qemu.sockets import Hangup, MessageStream
from vfbench.testbeds.qemu.vhost import messages as m

RX, TX = 0, 1
FEATURES = (
    1 << m.LOG_ALL_FEATURE
    | 1 << m.EVENT_IDX_FEATURE
    | 1 << m.PROTOCOL_FEATURES_FEATURE
    | 1 << m.VERSION_1_FEATURE
)
PROTOCOL_FEATURES = 1 << m.LOG_SHMFD_PROTOCOL | 1 << m.RARP_PROTOCOL | 1 << m.REPLY_ACK_PROTOCOL


@dataclass
class Vring:
    """A ring as QEMU describes it; addresses are QEMU's own."""

    size: int = 0
    descriptors: int = 0
    used: int = 0
    available: int = 0
    seen: int = 0
    call: int | None = None
    kick: int | None = None
    started: bool = False
    enabled: bool = False


@dataclass(frozen=True)
class Region:
    """A stretch of guest memory: guest-physical, in QEMU's address space, and in the memory's file."""

    guest_address: int
    size_bytes: int
    user_address: int
    offset: int


class Backend:
    """What a connection calls; by itself it does nothing. ``ring`` is the index of one."""

    def log_given(self, log: Any, regions: tuple[Region, ...]) -> None:
        """QEMU shares its dirty log, or takes it away (None); ``regions`` are the guest's memory."""

    def memory_given(self, descriptors: list[int]) -> None:
        """The files of the guest's memory, a descriptor for each region; the caller closes them."""

    def ring_started(self, ring: int) -> None:
        """QEMU lets the ring go."""

    def ring_stopped(self, ring: int) -> int | None:
        """QEMU stops the ring (GET_VRING_BASE): how far it came, None where QEMU's own count stands."""

    def kick_changed(self, ring: int, old: int | None, new: int | None) -> None:
        """The ring's kick is another descriptor; the old one is about to be closed."""

    def announced(self) -> None:
        """QEMU wants the guest's place made known (SEND_RARP)."""


@dataclass
class State:
    """What a connection has been told."""

    vrings: tuple[Vring, Vring] = field(default_factory=lambda: (Vring(), Vring()))
    regions: tuple[Region, ...] = ()
    features: int = 0
    protocol_features: int = 0


class VhostConnection:
    """Reads what there is and never waits for more; ``Hangup`` ends it."""

    def __init__(self, peer: socket.socket, backend: Backend) -> None:
        self._stream = MessageStream(peer, m.MOST_DESCRIPTORS)
        self.socket = peer
        self.backend = backend
        self.state = State()
        self.counts: dict[int, int] = {}
        self._log: mmap.mmap | None = None

    @property
    def negotiated(self) -> bool:
        """Whether the other side is a vhost-user front end."""
        return bool(self.counts)

    def close(self) -> None:
        """Close it, with every descriptor that was taken over."""
        for index, ring in enumerate(self.state.vrings):
            self._set_kick(index, None)
            if ring.call is not None:
                os.close(ring.call)
                ring.call = None
            ring.started = False
        self.backend.log_given(None, ())
        self._log = None
        self._stream.close()

    def serve(self) -> None:
        """Take in what has come and carry out the requests that are complete."""
        while message := self._stream.next(m.HEADER.size, self._size_of):
            self._carry_out(message, self._stream.take_descriptors())

    def interrupt(self, ring: int) -> None:
        """Signal the ring's vector."""
        call = self.state.vrings[ring].call
        if call is not None:
            os.write(call, (1).to_bytes(8, "little"))

    def offset_of(self, user_address: int) -> int:
        """Where in the memory's file QEMU's ``user_address`` lies; ValueError where no region holds it."""
        for region in self.state.regions:
            if region.user_address <= user_address < region.user_address + region.size_bytes:
                return region.offset + user_address - region.user_address
        raise ValueError(f"no region holds {user_address:#x}")

    @staticmethod
    def _size_of(header: bytes) -> int:
        _, flags, size = m.HEADER.unpack(header)
        if flags & m.VERSION_MASK != m.VERSION or size > m.MOST_BYTES:
            raise Hangup(f"no vhost-user front end: flags {flags:#x}, {size} bytes")
        return m.HEADER.size + int(size)

    def _carry_out(self, message: bytes, descriptors: list[int]) -> None:
        request, flags, _ = m.HEADER.unpack_from(message)
        self.counts[request] = self.counts.get(request, 0) + 1
        payload = message[m.HEADER.size :]
        try:
            reply = self._answer(request, payload, descriptors)
        except (ValueError, struct.error, IndexError) as error:
            raise Hangup(f"request {request}: {error}") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if reply is None and flags & m.FLAG_NEED_REPLY:
            reply = m.U64.pack(0)
        if reply is not None:
            self._stream.send(m.HEADER.pack(request, m.VERSION | m.FLAG_REPLY, len(reply)) + reply)

    def _answer(self, request: int, payload: bytes, descriptors: list[int]) -> bytes | None:
        """Carry it out; what is kept of ``descriptors`` is taken out of the list."""
        state = self.state
        match request:
            case m.GET_FEATURES:
                return m.U64.pack(FEATURES)
            case m.SET_FEATURES:
                state.features = m.U64.unpack_from(payload)[0]
                self._publish_log()
            case m.GET_PROTOCOL_FEATURES:
                return m.U64.pack(PROTOCOL_FEATURES)
            case m.SET_PROTOCOL_FEATURES:
                state.protocol_features = m.U64.unpack_from(payload)[0]
            case m.SET_MEM_TABLE:
                self._set_memory(payload)
                self.backend.memory_given(descriptors)
            case m.SET_LOG_BASE:
                self._set_log(payload, descriptors[0])
                return m.U64.pack(0)
            case m.SEND_RARP:
                self.backend.announced()
            case _:
                return self._answer_of_ring(request, payload, descriptors)
        return None

    def _answer_of_ring(self, request: int, payload: bytes, descriptors: list[int]) -> bytes | None:
        rings = self.state.vrings
        match request:
            case m.SET_VRING_NUM | m.SET_VRING_BASE | m.SET_VRING_ENABLE:
                index, number = m.VRING_STATE.unpack_from(payload)
                if request == m.SET_VRING_NUM:
                    rings[index].size = number
                elif request == m.SET_VRING_BASE:
                    rings[index].seen = number & 0xFFFF
                else:
                    rings[index].enabled = bool(number)
            case m.SET_VRING_ADDR:
                index, _, descriptor, used, available, _ = m.VRING_ADDRESS.unpack_from(payload)
                ring = rings[index]
                ring.descriptors, ring.used, ring.available = descriptor, used, available
            case m.GET_VRING_BASE:
                index = m.VRING_STATE.unpack_from(payload)[0]
                return m.VRING_STATE.pack(index, self._stop(index))
            case m.SET_VRING_KICK:
                index, kick = self._descriptor_of(payload, descriptors)
                self._set_kick(index, kick)
                rings[index].started = True
                self.backend.ring_started(index)
            case m.SET_VRING_CALL:
                index, call = self._descriptor_of(payload, descriptors)
                if rings[index].call is not None:
                    os.close(rings[index].call or 0)
                rings[index].call = call
        return None

    def _descriptor_of(self, payload: bytes, descriptors: list[int]) -> tuple[int, int | None]:
        word = m.U64.unpack_from(payload)[0]
        given = None if word & m.NO_DESCRIPTOR else descriptors.pop(0)
        return word & m.VRING_INDEX_MASK, given

    def _set_kick(self, index: int, kick: int | None) -> None:
        ring = self.state.vrings[index]
        if kick is not None:
            os.set_blocking(kick, False)
        self.backend.kick_changed(index, ring.kick, kick)
        if ring.kick is not None:
            os.close(ring.kick)
        ring.kick = kick

    def _stop(self, index: int) -> int:
        ring = self.state.vrings[index]
        came_to = self.backend.ring_stopped(index)
        if came_to is not None:
            ring.seen = came_to & 0xFFFF
        ring.started = False
        self._set_kick(index, None)
        return ring.seen

    def _set_memory(self, payload: bytes) -> None:
        count = m.VRING_STATE.unpack_from(payload)[0]
        self.state.regions = tuple(
            Region(*m.MEMORY_REGION.unpack_from(payload, m.MEMORY_REGIONS_AT + m.MEMORY_REGION.size * i))
            for i in range(count)
        )

    def _set_log(self, payload: bytes, descriptor: int) -> None:
        size, offset = m.LOG.unpack_from(payload)
        self._log = mmap.mmap(descriptor, size + offset)
        self._log_offset = offset
        self._publish_log()

    def _publish_log(self) -> None:
        if self._log is None or not self.state.features >> m.LOG_ALL_FEATURE & 1:
            self.backend.log_given(None, ())
            return
        log = np.frombuffer(self._log, dtype=np.uint8)[self._log_offset :]
        self.backend.log_given(log, self.state.regions)
