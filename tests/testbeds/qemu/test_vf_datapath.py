"""The machine's VF on memory that holds real bytes, driven through its registers as ixgbevf drives it."""

import struct
import time

import numpy as np
import pytest
from support.fake_qemu import BUFFERS, RX_RING, FakeDriver, FakeQemu

from vfbench.experiment import Experiment
from vfbench.profiles import load_profile
from vfbench.testbeds.qemu.device.capture import GUEST_MAC
from vfbench.testbeds.qemu.server.dirty_log import DirtyLog
from vfbench.testbeds.qemu.server.peer import PORTS, Peer
from vfbench.testbeds.qemu.vfio.connection import Connection
from vfbench.testbeds.qemu.vfio.dma_map import DmaMap
from vfbench.testbeds.qemu.vfio.virtual_function import MOST_QUEUES, VirtualFunction

pytestmark = pytest.mark.slow  # its kernels are compiled first

MARK = 0x31424656
STEP_OF_WORDS, STEP_OF_PACKETS = 0xBF58476D1CE4E5B9, 0x9E3779B97F4A7C15


class Rig:
    """A peer, a VF, a client and a driver; frames come when ``offer`` says so."""

    def __init__(self, strategies, workloads, **parameters):
        workload = workloads["bulk"](**parameters)
        self.peer = Peer(Experiment(strategies["untracked"](), workload), load_profile("xeon-82599"), 1.0)
        pairs, devices = self.peer.pairs[:MOST_QUEUES], self.peer.devices[:MOST_QUEUES]
        self.pair = pairs[0]
        self.vf = VirtualFunction(pairs, devices, 0x10ED, GUEST_MAC)
        self.dma = DmaMap(devices)
        self.dma.memory_found = self._watch
        self.qemu = FakeQemu(lambda: self.connection.serve())
        self.connection = Connection(self.qemu.server, self.vf, self.dma, lambda: self.peer.now_ps)
        self.driver = FakeDriver(self.qemu)
        self.devices = devices

    def _watch(self, size):
        self.wrote = np.zeros(size >> 12, dtype=np.uint8)
        for device in self.devices:
            device.device_wrote = self.wrote.ctypes.data

    def open(self, base=0, **mapping):
        self.driver.base = base
        self.qemu.greet()
        self.qemu.map(base, **mapping)
        self.qemu.take_vectors()
        self.vf.start()
        self.driver.open()

    def run(self, frames):
        """Let ``frames`` frames come, and the device do what it can."""
        self.peer.source.frames_left = frames
        self.peer.start()
        until = time.monotonic() + 5
        while int(self.peer.wire.sequence) < frames and time.monotonic() < until:
            self.peer.turn()
        time.sleep(0.001)
        self.peer.turn()
        self.peer.stop()
        self.vf.send_interrupts(self.peer.now_ps)


@pytest.fixture
def rig(all_strategies, all_workloads):
    made = Rig(all_strategies, all_workloads)
    yield made
    made.connection.close()
    made.vf.interrupts.clear_eventfds()
    made.qemu.close()


@pytest.fixture(scope="module")
def all_strategies():
    from strategies import ALL_STRATEGIES

    return {each.name: each for each in ALL_STRATEGIES}


@pytest.fixture(scope="module")
def all_workloads():
    from workloads import ALL_WORKLOADS

    return {each.name: each for each in ALL_WORKLOADS}


def payload_of(frame):
    assert frame[12:14] == b"\x08\x00"
    assert frame[23] == 17
    return frame[42:]


def expected_payload(sequence, length):
    words = [(i * STEP_OF_WORDS + sequence * STEP_OF_PACKETS) % (1 << 64) for i in range(length // 8)]
    body = b"".join(struct.pack("<Q", word) for word in words)[: length - 16]
    return struct.pack("<IHHQ", MARK, length - 16, 0, sequence) + body


def test_frames_land_as_ethernet_ip_and_udp_and_every_byte_names_its_packet(rig):
    rig.open()
    rig.driver.offer(0, 32)
    rig.run(3)
    for sequence in range(3):
        frame = rig.driver.received(sequence)
        assert len(frame) == 1518 - 4
        assert payload_of(frame) == expected_payload(sequence, len(frame) - 42)
    assert rig.driver.received(3) is None


def test_the_ip_header_has_the_right_length_and_checksum(rig):
    rig.open()
    rig.driver.offer(0, 8)
    rig.run(1)
    header = rig.driver.received(0)[14:34]
    total = sum(struct.unpack("!10H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
    assert struct.unpack_from("!H", header, 2)[0] == 1500


def test_the_driver_is_interrupted_once_until_it_unmasks(rig):
    rig.open()
    rig.driver.offer(0, 32)
    rig.run(5)
    assert rig.qemu.interrupts(0) == 1
    rig.vf.send_interrupts(rig.peer.now_ps)
    assert rig.qemu.interrupts(0) == 0


def test_a_frame_without_a_descriptor_is_dropped(rig):
    rig.open()
    rig.driver.offer(0, 2)
    rig.run(6)
    assert int(rig.pair.oracle.lost_descriptor) == 4
    assert rig.driver.received(1) is not None


def test_what_the_device_wrote_is_known_and_no_log_has_it_unless_one_is_shared(rig):
    rig.open()
    rig.driver.offer(0, 4)
    rig.run(2)
    assert set(np.flatnonzero(rig.wrote)) == {RX_RING >> 12, BUFFERS >> 12}
    log = DirtyLog(rig.devices, device_sets=True)
    bits = np.zeros(1 << 10, dtype=np.uint8)
    log.adopt(bits, ())
    rig.run(1)
    assert set(np.flatnonzero(np.unpackbits(bits, bitorder="little"))) == {
        RX_RING >> 12,
        (BUFFERS + 4096) >> 12,
    }


def test_behind_an_iommu_it_reaches_only_what_is_mapped_and_forgets_what_was_unmapped(rig):
    iova = 0xFFFF_0000_0000
    rig.open(base=iova)
    rig.driver.offer(0, 8)
    rig.run(1)
    assert rig.driver.received(0) is not None
    rig.qemu.unmap(iova, 4 << 20)
    rig.qemu.map(iova, 0x10000, 0)  # the rings, and none of the buffers
    rig.run(1)
    assert rig.driver.received(1) is None
    assert int(rig.pair.oracle.dma_faults) == 1
    assert int(rig.pair.oracle.lost_dma) == 1


def test_a_stopped_vf_writes_nothing(rig):
    rig.open()
    rig.driver.offer(0, 8)
    rig.vf.stop()
    rig.run(2)
    assert rig.driver.received(0) is None
    assert int(rig.pair.oracle.lost_blackout) == 2


def test_an_answer_is_checked_byte_by_byte(rig):
    rig.open()
    head = GUEST_MAC + bytes(6) + b"\x08\x00" + bytes(9) + bytes([17]) + bytes(18)
    rig.driver.send(0, head + expected_payload(0, 100))
    broken = bytearray(expected_payload(1, 100))
    broken[-1] ^= 1
    rig.driver.send(1, head + bytes(broken), at=0x201000)
    time.sleep(0.001)
    rig.peer.turn()
    assert rig.driver.sent(0)
    assert rig.driver.sent(1)
    assert (int(rig.pair.oracle.tx_delivered), int(rig.pair.oracle.tx_corrupted)) == (1, 1)


def test_a_context_descriptor_is_no_frame(rig):
    rig.open()
    struct.pack_into("<QQ", rig.qemu.memory, 0x3000, 0, 2 << 20 | 1 << 29)
    rig.qemu.write(0x2018, 1)
    time.sleep(0.001)
    rig.peer.turn()
    assert int(rig.pair.nic.tx_head) == 1
    assert int(rig.devices[0].other_frames) == 0


def test_state_loaded_elsewhere_goes_on_at_the_same_descriptor(rig):
    rig.open()
    rig.driver.offer(0, 16)
    rig.run(3)
    rig.vf.stop()
    state = rig.vf.save()
    first = PORTS
    target = VirtualFunction(
        rig.peer.pairs[first : first + MOST_QUEUES],
        rig.peer.devices[first : first + MOST_QUEUES],
        0x10ED,
        GUEST_MAC,
    )
    mapping = DmaMap(target.devices)
    mapping.memory_found = lambda size: [
        setattr(device, "device_wrote", rig.wrote.ctypes.data) for device in target.devices
    ]
    mapping.map(0, 4 << 20, 0, 3, rig.qemu.fd)
    target.load(state)
    target.start()
    rig.peer.deliver_to(first, 1)
    rig.run(1)
    assert payload_of(rig.driver.received(3)) == expected_payload(3, 1514 - 42)
