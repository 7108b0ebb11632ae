"""The VF's server spoken to as QEMU speaks to it; no packet moves."""

import errno
import os
import socket
import struct
from pathlib import Path

import numpy as np
import pytest
from support.fake_qemu import MEMORY_BYTES, FakeQemu

from vfbench.machine.iommu.table import WRITE
from vfbench.machine.queue_pair import QUEUE_PAIR
from vfbench.testbeds.qemu.device.records import DEVICE
from vfbench.testbeds.qemu.server.dirty_log import DirtyLog
from vfbench.testbeds.qemu.sockets import Hangup
from vfbench.testbeds.qemu.vfio import messages as m
from vfbench.testbeds.qemu.vfio.connection import Connection
from vfbench.testbeds.qemu.vfio.dma_map import DmaMap
from vfbench.testbeds.qemu.vfio.virtual_function import MOST_QUEUES, VirtualFunction
from vfbench.testbeds.qemu.vhost.connection import Region

MAC = bytes.fromhex("020000000001")
MAILBOX, MAILBOX_WORDS = 0x2FC, 0x200


@pytest.fixture
def qemu():
    pairs = np.zeros(MOST_QUEUES, dtype=QUEUE_PAIR).view(np.recarray)
    devices = np.zeros(MOST_QUEUES, dtype=DEVICE).view(np.recarray)
    vf = VirtualFunction(pairs, devices, 0x10ED, MAC)
    dma = DmaMap(devices)
    client = FakeQemu(lambda: connection.serve())
    connection = Connection(client.server, vf, dma, lambda: 7)
    client.vf, client.dma, client.connection = vf, dma, connection
    yield client
    connection.close()
    vf.interrupts.clear_eventfds()
    client.close()


def ask_mailbox(qemu, *words):
    for index, word in enumerate(words):
        qemu.write(MAILBOX_WORDS + 4 * index, word)
    qemu.write(MAILBOX, 1)
    return [qemu.read(MAILBOX_WORDS + 4 * index) for index in range(5)]


def test_nothing_is_carried_out_before_a_version_was_agreed_on(qemu):
    with pytest.raises(Hangup, match="before a version"):
        qemu.send(m.DEVICE_GET_INFO)


@pytest.mark.parametrize("said", [b"\0" * 16, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 16])
def test_a_stranger_is_hung_up_on_at_his_first_header(qemu, said):
    qemu.socket.sendall(said)
    with pytest.raises(Hangup):
        qemu.connection.serve()


def test_half_a_message_is_waited_for_and_loses_nothing(qemu):
    qemu.greet()
    message = m.HEADER.pack(9, m.DEVICE_GET_INFO, 32, 0, 0) + bytes(16)
    for byte in message:
        qemu.socket.sendall(bytes([byte]))
        qemu.connection.serve()
    assert m.HEADER.unpack(qemu.socket.recv(16))[:2] == (9, m.DEVICE_GET_INFO)


def test_a_file_stays_with_the_message_that_it_came_with(qemu):
    qemu.greet()
    size = m.HEADER.size + m.DMA_MAP_STRUCT.size
    without = m.HEADER.pack(1, m.DMA_MAP, size, 0, 0) + m.DMA_MAP_STRUCT.pack(32, 3, 0, 1 << 30, 4096)
    with_one = m.HEADER.pack(2, m.DMA_MAP, size, 0, 0) + m.DMA_MAP_STRUCT.pack(32, 3, 0, 0, MEMORY_BYTES)
    qemu.socket.sendall(without)
    socket.send_fds(qemu.socket, [with_one], [qemu.fd])
    qemu.connection.serve()
    assert qemu.dma.offset_of(1 << 30) is None
    assert qemu.dma.offset_of(0x1234) == 0x1234


def test_it_is_an_82599_vf_with_three_vectors(qemu):
    qemu.greet()
    config = qemu.ask(m.REGION_READ, m.REGION_ACCESS.pack(0, m.CONFIG_REGION, 4))[16:]
    assert struct.unpack("<HH", config) == (0x8086, 0x10ED)
    irqs = qemu.ask(m.DEVICE_GET_IRQ_INFO, struct.pack("<III", 16, 0, m.MSIX_IRQ))
    assert m.IRQ_INFO.unpack(irqs)[3] == 3


@pytest.mark.parametrize(
    ("command", "payload"),
    [
        (m.DEVICE_GET_REGION_INFO, struct.pack("<III", 32, 0, 99)),
        (m.DEVICE_SET_IRQS, m.SET_IRQS.pack(20, 0, m.MSIX_IRQ, 2, 9)),
        (m.REGION_READ, m.REGION_ACCESS.pack(0x3FFE, m.BAR0_REGION, 4)),
        (m.REGION_READ, m.REGION_ACCESS.pack(0, m.BAR0_REGION, 0xFFFF_FFFF)),
        (m.REGION_WRITE, m.REGION_ACCESS.pack(0, m.BAR0_REGION, 4) + b"12"),
        (m.DMA_MAP, b"short"),
        (m.DMA_MAP, m.DMA_MAP_STRUCT.pack(32, 3, 0, 12, 4096)),
    ],
)
def test_what_makes_no_sense_is_answered_with_an_error_and_the_connection_goes_on(qemu, command, payload):
    qemu.greet()
    assert qemu.ask(command, payload) == errno.EINVAL
    assert len(qemu.ask(m.DEVICE_GET_INFO, bytes(16))) == m.DEVICE_INFO.size


def test_a_command_that_is_not_served_is_not_supported(qemu):
    qemu.greet()
    assert qemu.ask(16) == errno.ENOTSUP


def test_the_mailbox_agrees_on_api_1_3_and_gives_its_address_and_queues(qemu):
    qemu.greet()
    reset = ask_mailbox(qemu, 0x01)
    assert reset[0] == 0x01 | 1 << 31
    assert struct.pack("<II", *reset[1:3])[:6] == MAC
    assert ask_mailbox(qemu, 0x08, 4)[0] & (1 << 31 | 1 << 30) == 1 << 31
    assert ask_mailbox(qemu, 0x08, 99)[0] & (1 << 31 | 1 << 30) == 1 << 30
    assert ask_mailbox(qemu, 0x09)[1:3] == [MOST_QUEUES, MOST_QUEUES]


def test_reading_the_mailboxs_status_clears_what_the_driver_waits_for(qemu):
    qemu.greet()
    ask_mailbox(qemu, 0x01)
    assert qemu.read(MAILBOX) & 0x30 == 0x30
    assert qemu.read(MAILBOX) & 0x30 == 0


def test_a_masked_vector_keeps_its_cause_until_it_is_unmasked(qemu):
    qemu.greet()
    qemu.take_vectors()
    qemu.write(0x120, 0x81)  # receive of queue pair 0: vector 1
    qemu.vf.interrupts.raise_queue(0)
    assert qemu.interrupts(1) == 0
    qemu.write(0x108, 2)
    assert qemu.interrupts(1) == 1


def test_an_auto_masked_vector_is_sent_once_until_the_driver_unmasks_it(qemu):
    qemu.greet()
    qemu.take_vectors()
    qemu.write(0x120, 0x80)
    qemu.write(0x114, 1)
    qemu.write(0x108, 1)
    for _ in range(3):
        qemu.vf.interrupts.raise_queue(0)
    assert qemu.interrupts(0) == 1
    qemu.write(0x108, 1)
    assert qemu.interrupts(0) == 1


def test_eitr_counts_in_quarters_of_a_microsecond(qemu):
    qemu.greet()
    qemu.write(0x120, 0x80)
    qemu.write(0x820, 200)
    assert int(qemu.vf.pairs[0].interrupt_interval_ps) == 50_000_000


def test_what_is_unmapped_is_told_of_and_no_longer_found(qemu):
    qemu.greet()
    ended = []
    qemu.dma.page_unmapped = ended.append
    assert qemu.map(1 << 40, 0x3000, 0x5000) == b""
    assert qemu.dma.offset_of((1 << 40) + 0x1008) == 0x6008
    qemu.unmap(1 << 40, 0x3000)
    assert qemu.dma.offset_of((1 << 40) + 0x1008) is None
    assert [list(pages) for pages in ended] == [[5, 6, 7]]


def test_a_mapping_over_another_is_refused(qemu):
    qemu.greet()
    qemu.map(0x10000, 0x2000)
    assert qemu.map(0x11000, 0x2000) == errno.EINVAL
    assert qemu.map(0x12000, 0x1000) == b""


def test_pages_mapped_for_reading_are_not_pages_that_the_device_may_write(qemu):
    qemu.greet()
    qemu.map(0, 0x2000, 0, access=1)
    qemu.map(0x2000, 0x1000, 0x2000, access=3)
    assert list(qemu.dma.mapped_pages(WRITE)) == [2]


def test_its_state_crosses_and_comes_back_the_same(qemu):
    qemu.greet()
    ask_mailbox(qemu, 0x01)
    for register, value in ((0x120, 0x8180), (0x108, 5), (0x820, 80), (0x1000, 0xABC000), (0x300, 3)):
        qemu.write(register, value)
    state = qemu.vf.save()
    other = VirtualFunction(
        np.zeros(MOST_QUEUES, dtype=QUEUE_PAIR).view(np.recarray),
        np.zeros(MOST_QUEUES, dtype=DEVICE).view(np.recarray),
        0x10ED,
        MAC,
    )
    other.load(state)
    assert other.save() == state


def test_every_descriptor_of_a_lost_connection_is_closed(qemu):
    before = len(list(Path("/proc/self/fd").iterdir()))
    qemu.greet()
    qemu.take_vectors()
    qemu.vf.interrupts.clear_eventfds()
    for each in qemu.eventfds:
        os.close(each)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_log_has_a_bit_for_each_page_of_guest_physical_memory():
    devices = np.zeros(1, dtype=DEVICE).view(np.recarray)
    log = DirtyLog(devices, device_sets=False)
    bits = np.zeros(1 << 18, dtype=np.uint8)
    # 3 GiB below a hole that ends at 4 GiB, and 1 GiB above it
    log.adopt(bits, (Region(0, 3 << 30, 0, 0), Region(4 << 30, 1 << 30, 3 << 30, 3 << 30)))
    log.mark(np.array([1, 9, (3 << 30 >> 12) + 2]))
    assert np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist() == [1, 9, (4 << 30 >> 12) + 2]
