"""The server's process: one thread that waits for sockets and the next packet, and carries out the bench's calls.

Started as ``python -m vfbench.testbeds.qemu.server.process DESCRIPTOR``; the descriptor is one end of a socket pair.
Its first message is the order, the others are calls. It ends when the other end is closed.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from selectors import EVENT_READ, SelectSelector
from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.errors import UserError
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.testbeds.qemu.device.capture import GUEST_MAC
from vfbench.testbeds.qemu.server.peer import PLACES, PORTS, Peer
from vfbench.testbeds.qemu.server.place import Place, Tracking
from vfbench.testbeds.qemu.vfio.dma_map import memory_of_process
from vfbench.testbeds.qemu.vfio.virtual_function import MOST_QUEUES, VirtualFunction

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile

PS_PER_S = 1e12
PIECES = 64
"""Memories are compared in pieces, so that what is compared takes no memory of its own size."""


@dataclass(frozen=True)
class Order:
    """What a server is started with; ``folder`` has a folder for each place."""

    experiment: Experiment
    profile: Profile
    folder: Path
    device_id: int
    slowdown: float
    tracking: Tracking
    primary: str


class Server:
    """The wire and both places; its public methods are what the bench can call, with plain values."""

    def __init__(self, order: Order) -> None:
        self._selector = SelectSelector()
        self._peer = Peer(order.experiment, order.profile, order.slowdown)
        self._places: dict[str, Place] = {}
        self._hold_ps = round(order.experiment.workload.hold_ns * 1000 * order.slowdown)
        self._took_ps = 0
        self._longest_gap_ps = 0
        for index, name in enumerate(PLACES):
            first = index * PORTS
            queues = slice(first, first + MOST_QUEUES)
            virtio = self._peer.pairs[first + MOST_QUEUES], self._peer.devices[first + MOST_QUEUES]
            vf = VirtualFunction(
                self._peer.pairs[queues], self._peer.devices[queues], order.device_id, GUEST_MAC
            )
            vf.driver_took = self._note_taken
            self._places[name] = Place(
                order.folder / name,
                vf,
                self._selector,
                lambda: self._peer.now_ps,
                order.tracking,
                order.primary,
                virtio,
            )
            self._places[name].virtio.driver_took = self._note_taken
        self._at = PLACES[0]

    # -- the loop

    def serve(self, bench: Connection) -> None:
        """Until the bench hangs up."""
        self._selector.register(bench, EVENT_READ, lambda: self._carry_out(bench))
        self._serving = True
        while self._serving:
            self._route()
            due_ps = self._peer.turn()
            for place in self._places.values():
                place.send_interrupts(self._peer.now_ps)
            wait_s = max(0.0, (due_ps - self._peer.now_ps) / PS_PER_S)
            for key, _ in self._selector.select(wait_s):
                key.data()
        for place in self._places.values():
            place.close()

    def _carry_out(self, bench: Connection) -> None:
        try:
            name, arguments = bench.recv()
        except (EOFError, OSError):
            self._serving = False
            return
        try:
            answer = (True, getattr(self, name)(**arguments))
        except (UserError, ValueError, AttributeError, TypeError) as error:
            answer = (False, str(error))
        bench.send(answer)

    def _route(self) -> None:
        """The network delivers to the guest's place, there to the device that it uses."""
        place = self._places[self._at]
        first = PLACES.index(self._at) * PORTS
        if place.uses_vf:
            self._peer.deliver_to(first, max(1, place.vf.queues_in_use))
        else:
            self._peer.deliver_to(first + MOST_QUEUES, 1)

    def _note_taken(self, now_ps: int) -> None:
        self._longest_gap_ps = max(self._longest_gap_ps, now_ps - self._took_ps)
        self._took_ps = now_ps

    # -- what the bench may call

    def start_peer(self, place: str) -> None:
        """The peer begins to send to the guest at ``place``."""
        self._at = place
        self._route()
        self._peer.start()

    def stop_peer(self) -> None:
        self._peer.stop()

    def start(self, place: str) -> None:
        self._places[place].start()

    def stop(self, place: str) -> None:
        """The device at ``place`` moves nothing from now on."""
        self._peer.turn()
        self._places[place].stop()

    def rings(self, place: str) -> list[int]:
        """Pages of the guest's memory that hold a ring in use."""
        return self._places[place].ring_pages()

    def ever_written(self, place: str) -> list[int]:
        """Pages of the guest's memory that a device has written."""
        return [int(page) for page in np.flatnonzero(self._places[place].ever_written)]

    def save(self, place: str) -> dict[str, Any]:
        return self._places[place].vf.save()

    def load(self, place: str, state: dict[str, Any]) -> None:
        """The VF at ``place`` becomes the one that was saved; it does not move packets yet."""
        self._places[place].vf.load(state)

    def deliver_to(self, place: str) -> None:
        """The network learns that the guest is there, its device starts, and its driver is interrupted once."""
        self._peer.turn()
        self._at = place
        self._route()
        self._places[place].start()
        self._places[place].vf.interrupt_driver()

    def hold(self) -> None:
        """Stop the clock of wire and devices."""
        self._peer.turn()
        self._peer.hold()

    def release(self) -> None:
        self._peer.release()

    def watch_gap(self) -> None:
        """Begin to look for the longest time in which the driver took nothing."""
        self._longest_gap_ps = 0

    def longest_gap_ms(self) -> float:
        """It, in ms, the time since the driver last took something included."""
        return max(self._longest_gap_ps, self._peer.now_ps - self._took_ps) / 1e9

    def uses_vf(self, place: str) -> bool:
        """Whether packets for the guest at ``place`` go to its VF."""
        return self._places[place].uses_vf

    def drained(self, place: str) -> bool:
        """Whether the driver has taken all that the device wrote back."""
        return self._places[place].vf.driver_waits

    def counts(self) -> dict[str, int]:
        """Counters of both places, and the wire's clock in ps."""
        counts = self._peer.counts()
        for place in self._places.values():
            counts[f"{place.name}_maps"], counts[f"{place.name}_unmaps"] = place.dma.maps, place.dma.unmaps
            counts[f"{place.name}_interrupts"] = place.vf.interrupts.sent + place.virtio.interrupts
            counts[f"{place.name}_doorbells"] = place.vf.doorbells + place.virtio.kicks
            counts[f"{place.name}_logged"] = place.log.marked
        counts["now_ps"] = self._peer.now_ps
        return counts

    def events(self) -> list[str]:
        """Who else came to a socket of ours, and was refused."""
        return [event for place in self._places.values() for event in place.events]

    def connected(self, place: str) -> bool:
        """Whether QEMU has the VF there."""
        return self._places[place].connected

    def take_written(self) -> int:
        """Pages that a device has written since this was asked for last, each once."""
        return sum(place.take_written() for place in self._places.values())

    def take_round(self) -> int:
        """The same since either was asked for last: pages written in a round of the pre-copy."""
        return sum(place.take_round() for place in self._places.values())

    def waiting(self) -> int:
        """Frames on their way that are not in memory yet."""
        return self._peer.waiting()

    def ledger(self) -> tuple[Any, Any, Any]:
        """See ``Peer.landed``."""
        return self._peer.landed()

    def compare(self, source: int, target: int) -> dict[str, Any]:
        """The memories of the two QEMUs with these process IDs, page by page: which differ, which the device wrote,
        and which hold a packet that the guest is not done with.
        """
        memories = [memory_of_process(process).pages for process in (source, target)]
        differs = np.concatenate(
            [
                (one != other).any(axis=1)
                for one, other in zip(*(np.array_split(pages, PIECES) for pages in memories), strict=True)
            ]
        )
        return {
            "differs": np.flatnonzero(differs),
            "device_wrote": np.flatnonzero(self._places["source"].ever_written),
            "held": self._held_pages(),
            "compared": len(differs),
        }

    def _held_pages(self) -> Any:
        """Pages with a packet that the application still keeps, or that the driver has not taken yet."""
        place, landed_ps, _ = self._peer.landed()
        kept_from_ps = min(self._peer.now_ps - self._hold_ps, self._took_ps)
        places = place[(place >= 0) & (landed_ps >= kept_from_ps)]
        return np.unique(places // PAGE_BYTES)


def main() -> None:
    """Serve the bench at the other end of the socket pair."""
    began = time.monotonic()
    bench = Connection(int(sys.argv[1]))
    server = Server(bench.recv())
    bench.send((True, {"pid": os.getpid(), "ready_s": time.monotonic() - began}))
    server.serve(bench)


if __name__ == "__main__":
    main()
