"""A client of the VF's server as QEMU is one, and a driver as ixgbevf is one, both in Python."""

import mmap
import os
import select
import socket
import struct

from vfbench.testbeds.qemu.vfio import messages as m

MEMORY_BYTES = 4 << 20
RX_RING, TX_RING = 0x1000, 0x3000
RING_SIZE = 64
BUFFERS = 0x10000
BUFFER_BYTES = 2048


class FakeQemu:
    """One end of a vfio-user connection; ``serve`` is what lets the other end work."""

    def __init__(self, serve):
        self._serve = serve
        self.socket, self.server = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.fd = os.memfd_create("guest")
        os.ftruncate(self.fd, MEMORY_BYTES)
        self.memory = mmap.mmap(self.fd, MEMORY_BYTES)
        self._number = 0

    def send(self, command, payload=b"", descriptors=(), flags=0):
        self._number += 1
        size = m.HEADER.size + len(payload)
        message = m.HEADER.pack(self._number, command, size, flags, 0) + payload
        socket.send_fds(self.socket, [message], list(descriptors))
        self._serve()

    def ask(self, command, payload=b"", descriptors=()):
        """The reply's payload, or the number of the error that it reports."""
        self.send(command, payload, descriptors)
        header = self.socket.recv(m.HEADER.size)
        number, answered, size, flags, error = m.HEADER.unpack(header)
        assert (number, answered) == (self._number, command)
        left = size - m.HEADER.size
        body = self.socket.recv(left) if left else b""
        return error if flags & m.FLAG_ERROR else body

    def greet(self):
        reply = self.ask(m.VERSION, struct.pack("<HH", 0, 1) + b'{"capabilities":{}}\0')
        assert struct.unpack_from("<HH", reply) == (0, 1)

    def map(self, iova=0, size=MEMORY_BYTES, offset=0, access=3):
        return self.ask(m.DMA_MAP, m.DMA_MAP_STRUCT.pack(32, access, offset, iova, size), [self.fd])

    def unmap(self, iova, size):
        return self.ask(m.DMA_UNMAP, m.DMA_UNMAP_STRUCT.pack(24, 0, iova, size))

    def write(self, register, value):
        self.send(
            m.REGION_WRITE,
            m.REGION_ACCESS.pack(register, m.BAR0_REGION, 4) + struct.pack("<I", value),
            flags=m.FLAG_NO_REPLY,
        )

    def read(self, register):
        reply = self.ask(m.REGION_READ, m.REGION_ACCESS.pack(register, m.BAR0_REGION, 4))
        return struct.unpack_from("<I", reply, m.REGION_ACCESS.size)[0]

    def take_vectors(self, count=3):
        """Give the device an eventfd for each vector."""
        self.eventfds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(count)]
        flags = m.SET_IRQS_DATA_EVENTFD | m.SET_IRQS_ACTION_TRIGGER
        assert (
            self.ask(m.DEVICE_SET_IRQS, m.SET_IRQS.pack(20, flags, m.MSIX_IRQ, 0, count), self.eventfds)
            == b""
        )

    def interrupts(self, vector):
        """How often the vector was signalled since the last look."""
        ready, _, _ = select.select([self.eventfds[vector]], [], [], 0)
        return os.eventfd_read(self.eventfds[vector]) if ready else 0

    def close(self):
        self.socket.close()
        self.memory.close()
        os.close(self.fd)


class FakeDriver:
    """Brings a queue pair up as ixgbevf does, and looks into the rings. Device addresses are ``base`` + offset."""

    def __init__(self, qemu, base=0):
        self.qemu, self.base = qemu, base

    def open(self):
        for first, ring in ((0x1000, RX_RING), (0x2000, TX_RING)):
            self.qemu.write(first, (self.base + ring) & 0xFFFFFFFF)
            self.qemu.write(first + 4, (self.base + ring) >> 32)
            self.qemu.write(first + 8, 16 * RING_SIZE)
            self.qemu.write(first + 0x28, 1 << 25)
        self.qemu.write(0x120, 0x80 | 0x80 << 8)  # both causes of queue pair 0: vector 0
        self.qemu.write(0x114, 1)  # auto-mask vector 0
        self.qemu.write(0x108, 1)

    def offer(self, first, count):
        for slot in range(first, first + count):
            buffer = self.base + BUFFERS + BUFFER_BYTES * (slot % RING_SIZE)
            struct.pack_into("<QQ", self.qemu.memory, RX_RING + 16 * (slot % RING_SIZE), buffer, 0)
        self.qemu.write(0x1018, (first + count) % RING_SIZE)

    def received(self, slot):
        """The frame that the descriptor of ``slot`` announces, or None."""
        status, length = struct.unpack_from("<IH", self.qemu.memory, RX_RING + 16 * slot + 8)
        if not status & 1:
            return None
        begin = BUFFERS + BUFFER_BYTES * slot
        return bytes(self.qemu.memory[begin : begin + length])

    def send(self, slot, frame, at=0x200000):
        self.qemu.memory[at : at + len(frame)] = frame
        command = len(frame) | 3 << 20 | 1 << 24 | 1 << 27 | 1 << 29
        struct.pack_into("<QQ", self.qemu.memory, TX_RING + 16 * slot, self.base + at, command)
        self.qemu.write(0x2018, slot + 1)

    def sent(self, slot):
        return struct.unpack_from("<QQ", self.qemu.memory, TX_RING + 16 * slot)[1] >> 32 & 1
