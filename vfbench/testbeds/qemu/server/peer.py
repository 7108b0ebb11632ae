"""The host's records of a run: wire, peer, application, and two queue pairs for each of two places."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.kernels import address_of
from vfbench.machine.costs import IOTLB_MISS
from vfbench.machine.queue_pair import PATH_VF, QUEUE_PAIR
from vfbench.machine.wire import APPLICATION, BATCH_FRAMES, FRAMES, NEVER_PS, SOURCE
from vfbench.strategy import linux_guest
from vfbench.testbeds.qemu.device.capture import GUEST_IP, GUEST_MAC, PEER_IP, PEER_MAC, Contents
from vfbench.testbeds.qemu.device.payload import HEADER_BYTES
from vfbench.testbeds.qemu.device.records import (
    DEVICE,
    LEDGER_ANSWER,
    LEDGER_LANDED_PS,
    LEDGER_PLACE,
    LEDGER_WORDS,
    TX_FRAME_BYTES,
)
from vfbench.testbeds.qemu.device.wire import NORMAL_SPEED, WIRE, turn
from vfbench.testbeds.qemu.vfio.virtual_function import MOST_QUEUES
from vfbench.testbeds.records_at_start import (
    costs_ps,
    prepare_application,
    prepare_pair,
    prepare_peer,
)

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile

PLACES = ("source", "target")
PORTS = MOST_QUEUES + 1
"""Of each place: the VF's queue pairs, then virtio-net's."""
LEDGER_FRAMES = 1 << 21
RECEIVE_PORT = 9000
SAMPLE_FRAMES, SAMPLE_PS, SAMPLE_LONGEST_PS = 256, 10**6, 10**15
"""How many frames a workload's rate is taken from, and in which stretch of its clock they are looked for."""
LOSSES = ("lost_fifo", "lost_descriptor", "lost_blackout", "lost_reset", "lost_dma")


def frame_headers() -> bytes:
    """Ethernet, IPv4 and UDP of every frame, but for lengths, identification, checksum and source port."""
    ethernet = GUEST_MAC + PEER_MAC + b"\x08\x00"
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, 17, 0, PEER_IP, GUEST_IP)
    return ethernet + ip + struct.pack("!HHHH", 0, RECEIVE_PORT, 0, 0)


def prepared_source(experiment: Experiment) -> tuple[Any, tuple[Any, ...]]:
    """The peer's record at the start of a run, and what must outlive it."""
    source = np.zeros(1, dtype=SOURCE).view(np.recarray)[0]
    return source, prepare_peer(source, experiment, LEDGER_FRAMES)


def offered_per_s(experiment: Experiment) -> float:
    """Frames a second that an open workload offers at full speed, by its first ones; 0 for a closed loop."""
    source, _kept = prepared_source(experiment)
    frames = np.zeros(1, dtype=FRAMES).view(np.recarray)[0]
    times: list[int] = []
    horizon_ps = SAMPLE_PS
    while len(times) < SAMPLE_FRAMES and horizon_ps <= SAMPLE_LONGEST_PS:
        frames.count = 0
        type(experiment.workload).arrivals(source, frames, horizon_ps)
        times += [int(time_ps) for time_ps in frames.arrival_ps[: frames.count]]
        if frames.count < BATCH_FRAMES:
            horizon_ps *= 2
    return (len(times) - 1) * 1e12 / (times[-1] - times[0]) if len(times) >= SAMPLE_FRAMES else 0.0


class Peer:
    """The records, and ``turn``, which lets everything happen that happens up to now.

    ``slowdown``: wall time over the workload's time. RunFailed if the ledger is full.
    """

    def __init__(self, experiment: Experiment, profile: Profile, slowdown: float) -> None:
        self._experiment, self._profile = experiment, profile
        self._began_ns = time.monotonic_ns()
        self._held_ns = 0
        self._held_since_ns: int | None = None
        self.devices = np.zeros(len(PLACES) * PORTS, dtype=DEVICE).view(np.recarray)
        self.pairs = np.zeros(len(PLACES) * PORTS, dtype=QUEUE_PAIR).view(np.recarray)
        self.ledger = np.zeros((LEDGER_FRAMES, LEDGER_WORDS), dtype=np.int64)
        self._headers = np.frombuffer(frame_headers().ljust(HEADER_BYTES + 6, b"\0"), dtype=np.uint8).copy()
        self._tx_frames = np.zeros((len(self.devices), TX_FRAME_BYTES), dtype=np.uint8)
        self.source, self._kept = prepared_source(experiment)
        self._frames = np.zeros(1, dtype=FRAMES).view(np.recarray)[0]
        self._application = np.zeros(1, dtype=APPLICATION).view(np.recarray)[0]
        self.wire = np.zeros(1, dtype=WIRE).view(np.recarray)[0]
        frames = experiment.workload.frame_contents()
        self._contents = Contents(frames) if frames else None
        for index in range(len(self.devices)):
            self._fill_device(self.devices[index], index)
            self._fill_pair(self.pairs[index])
        prepare_application(self._application, experiment, 2)
        self._fill_wire(slowdown)
        self.turn()

    # -- clocks

    @property
    def now_ps(self) -> int:
        """Wall clock since the run began, without the time for which it was held."""
        now = time.monotonic_ns() if self._held_since_ns is None else self._held_since_ns
        return (now - self._began_ns - self._held_ns) * 1000

    def hold(self) -> None:
        """Stop the clock: the bench does something that no migration would."""
        self._held_since_ns = time.monotonic_ns()

    def release(self) -> None:
        """Let it go on."""
        if self._held_since_ns is not None:
            self._held_ns += time.monotonic_ns() - self._held_since_ns
            self._held_since_ns = None

    def turn(self) -> int:
        """Everything up to now; returns when the next turn is due, in ps of the same clock."""
        now_ps = self.now_ps
        return int(
            turn(self.wire, self.source, self._frames, self._application, self.devices, self.pairs, now_ps)
        )

    # -- the workload

    def start(self) -> None:
        """The peer begins to send."""
        self.wire.origin_ps = self.now_ps
        self.wire.running = 1

    def stop(self) -> None:
        """The peer falls silent."""
        self.wire.running = 0

    def deliver_to(self, first: int, queues: int) -> None:
        """The network delivers to ``queues`` ports from ``first`` on; what is on its way goes there."""
        if (first, queues) == (int(self.wire.first_pair), int(self.wire.queues)):
            return
        for queue in range(int(self.wire.queues)):
            old, new = self.pairs[int(self.wire.first_pair) + queue], self.pairs[first + queue % queues]
            if old is new:
                continue
            for index in range(int(old.nic.incoming_head), int(old.nic.incoming_count)):
                new.nic.incoming[int(new.nic.incoming_count)] = old.nic.incoming[index]
                new.nic.incoming_count += 1
            old.nic.incoming_head = old.nic.incoming_count = 0
        self.wire.first_pair, self.wire.queues = first, queues

    def counts(self) -> dict[str, int]:
        """Sums over all queue pairs of both places."""
        names = (
            "rx_offered",
            *LOSSES,
            "dma_faults",
            "iotlb_misses",
            "tx_delivered",
            "tx_corrupted",
            "tx_duplicated",
        )
        counts = {name: int(self.pairs["oracle"][name].sum()) for name in names}
        counts["landed"] = int(np.count_nonzero(self.ledger[: counts["rx_offered"], LEDGER_PLACE]))
        counts["other_frames"] = int(self.devices["other_frames"].sum())
        return counts

    def waiting(self) -> int:
        """Frames in front of the devices and in their FIFOs."""
        nics = self.pairs["nic"]
        return int(
            (nics["incoming_count"] - nics["incoming_head"] + nics["fifo_tail"] - nics["fifo_head"]).sum()
        )

    def landed(self) -> tuple[Any, Any, Any]:
        """For each frame offered: offset in memory where it was written or -1, when (ps), and the answer wanted."""
        rows = self.ledger[: int(self.wire.sequence)]
        return (
            rows[:, LEDGER_PLACE] - 1,
            rows[:, LEDGER_LANDED_PS].copy(),
            rows[:, LEDGER_ANSWER].copy(),
        )

    # -- records at the start

    def _fill_device(self, device: Any, index: int) -> None:
        device.cost[:] = costs_ps(self._profile)
        if not linux_guest(self._experiment.strategy).guest_iommu:
            device.cost[IOTLB_MISS] = 0
        device.ledger, device.ledger_frames = self.ledger.ctypes.data, LEDGER_FRAMES
        if self._contents is not None:
            self._contents.give_to(device)
        device.headers = self._headers.ctypes.data
        device.tx_frame = self._tx_frames[index].ctypes.data
        device.high_memory = NEVER_PS
        device.rx_size = device.tx_size = 1

    def _fill_pair(self, pair: Any) -> None:
        prepare_pair(pair, self._experiment, self._profile)
        pair.path = PATH_VF
        pair.oracle.seen_by_replies = 1

    def _fill_wire(self, slowdown: float) -> None:
        workload = type(self._experiment.workload)
        wire = self.wire
        wire.slowdown_1024 = max(NORMAL_SPEED, round(slowdown * NORMAL_SPEED))
        wire.queues, wire.pairs = 1, len(self.pairs)
        wire.ledger, wire.ledger_frames = self.ledger.ctypes.data, LEDGER_FRAMES
        wire.arrivals = address_of(workload.arrivals, self.source, self._frames, 0)
        wire.peer_received = address_of(workload.peer_received, self.source, 0, 0, 0)
        wire.delivered = address_of(workload.delivered, self.devices[0], self._application, 0, 0)
