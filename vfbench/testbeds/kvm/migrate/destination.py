"""The destination: a process of its own, with a VM of its own, that takes a guest in and runs it on.

It is started by the source (see ``destination_main``), whose first message says what it is to expect: the experiment,
and the descriptors of the memory that it is to use and of the bench's records. It answers when its VM is ready. When
standard input ends, the source is gone, and so is it.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vfbench.errors import RunFailed, UserError
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.queue_pair import PATH_VF, PATH_VIRTIO
from vfbench.machine.vf.register_access import reset_registers, set_register
from vfbench.machine.vf.registers import QUEUE_ENABLE, READ_ONLY, RXDCTL, TXDCTL
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.guest.guest import guest_paths
from vfbench.testbeds.kvm.guest.guest_abi import DRAIN, OPEN_VF, SET_PATH
from vfbench.testbeds.kvm.host.endpoint import Endpoint
from vfbench.testbeds.kvm.host.host_records import BenchRecords
from vfbench.testbeds.kvm.migrate import stream
from vfbench.testbeds.kvm.migrate.stream import Stream, StreamBroken
from vfbench.testbeds.kvm.sys import boot

if TYPE_CHECKING:
    from vfbench.experiment import Experiment

EXIT_FAILED = 1


@dataclass(frozen=True)
class Order:
    """What the source tells its destination at the start."""

    experiment: Experiment
    memory_fd: int
    bench_fd: int
    table_bytes: int
    refuse: str = ""


class Destination:
    """Takes one guest in; `serve` returns when the source says that it is over."""

    def __init__(self, endpoint: Endpoint, connection: Stream, order: Order) -> None:
        self._endpoint = endpoint
        self._stream = connection
        self._order = order
        self._pair = endpoint.bench.pair
        self._memory = endpoint.vm.memory.bytes.reshape(-1, PAGE_BYTES)
        self._running = False
        self._verbs: dict[int, Callable[[Any], Any]] = {
            stream.VF_STATE: self._take_vf_state,
            stream.RESTORE_RINGS: self._restore_rings,
            stream.RESUME: self._resume,
            stream.TAKE_WIRE: self._take_wire,
            stream.PLUG_VF: self._plug_vf,
            stream.TRACKING: self._set_tracking,
            stream.PING: self._ping,
        }

    def serve(self) -> None:
        """Message after message until QUIT."""
        while True:
            kind, length = self._stream.receive_header()
            if kind == stream.QUIT:
                # All of it, or this end could be gone while the source still sends it.
                self._stream.fill(memoryview(bytearray(length)))
                return
            try:
                self._obey(kind, length)
            except StreamBroken:
                raise
            except RunFailed as failure:
                self._stream.send(stream.ERROR, str(failure).encode())
                raise

    def _obey(self, kind: int, length: int) -> None:
        if kind == stream.PAGES:
            self._stream.receive_pages(self._memory, length)
            return
        payload = bytearray(length)
        self._stream.fill(memoryview(payload))
        if self._order.refuse:
            raise RunFailed(self._order.refuse)
        if kind == stream.GUEST_STATE:
            self._take_guest_state(payload)
            answer = None
        elif kind in self._verbs:
            answer = self._verbs[kind](stream.parsed(payload, "the source"))
        else:
            raise RunFailed(f"message {kind} means nothing here")
        self._stream.send_json(stream.DONE, answer)

    def _take_guest_state(self, payload: bytearray) -> None:
        """The testbed's own part of memory, then the vCPU."""
        self._endpoint.vm.memory.bytes[: boot.FREE_BASE] = np.frombuffer(payload, np.uint8, boot.FREE_BASE)
        self._endpoint.vm.vcpu.restore(bytes(payload[boot.FREE_BASE :]))

    def _take_vf_state(self, state: dict[str, Any]) -> None:
        """Write each register back to a VF that was just reset.

        The queues stay off until the rings are right.
        """
        reset_registers(self._pair)
        self._pair.nic.iotlb_iova[:] = -1
        for index, value in enumerate(state["registers"]):
            if index not in READ_ONLY:
                enables = index in (RXDCTL, TXDCTL)
                set_register(self._pair, index, value & ~QUEUE_ENABLE if enables else value, 0)

    def _run_guest(self) -> None:
        if not self._running:
            self._endpoint.start_host_thread(drives_wire=False)
            self._endpoint.start_vcpu()
            self._running = True

    def _restore_rings(self, heads: list[int]) -> None:
        """The guest's own code does it, as soon as it is done with what it was about when it was paused."""
        self._run_guest()
        self._endpoint.command(guest_abi.RESTORE_RINGS, *heads)

    def _resume(self, _: None) -> None:
        self._run_guest()
        self._endpoint.word(guest_abi.QUIESCE_REQUESTED)[0] = 0
        self._raise_interrupt()
        self._endpoint.settle()

    def _take_wire(self, _: None) -> None:
        """From here on the peer's frames come to this process.

        Those since the source let go of the wire are lost.
        """
        wire = self._endpoint.bench.wire
        self._endpoint.bench.adopt_table()
        wire.admit_watch = 1
        self._endpoint.host.drives_wire = 1
        self._endpoint.await_turn()
        self._pair.enabled = 1

    def _plug_vf(self, _: None) -> None:
        """Give the guest a VF and fail over to it."""
        self._pair.enabled = 0
        self._endpoint.await_turn()
        reset_registers(self._pair)
        self._endpoint.command(OPEN_VF)
        self._endpoint.command(DRAIN)
        self._endpoint.command(SET_PATH, PATH_VF)

    def _set_tracking(self, request: dict[str, int]) -> None:
        self._endpoint.set_tracking(bool(request["armed"]))

    def _ping(self, _: None) -> dict[str, int]:
        if self._running:
            self._endpoint.check()
        return {"exits": self._endpoint.vm.vcpu.exits}

    def _raise_interrupt(self) -> None:
        """As after any migration: an interrupt that was on its way must not be missed."""
        self._pair.interrupt_ps = 0
        self._pair.interrupt_pending = 1
        self._pair.tx_interrupt_pending = int(PATH_VIRTIO in guest_paths(self._endpoint.experiment))


def say(reason: str) -> None:
    """Tell the source, which reads what this process writes to its standard error."""
    sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()


def _end_with_the_source() -> None:
    """Standard input ends when the source does, however it ended."""
    while os.read(sys.stdin.fileno(), 1):
        continue
    say("the source is gone")
    os._exit(EXIT_FAILED)


def _take_order(connection: Stream) -> Order:
    kind, document = connection.receive()
    if kind != stream.ORDER:
        raise StreamBroken(f"message {kind} where the order was due")
    order: Order = pickle.loads(document)
    return order


def take_in(connection: Stream) -> int:
    """Take the guest that the source orders and run it until the source says that it is over; the exit code."""
    threading.Thread(target=_end_with_the_source, daemon=True).start()
    try:
        order = _take_order(connection)
        bench = BenchRecords(order.bench_fd, order.table_bytes)
        with Endpoint(order.experiment, bench, order.memory_fd) as endpoint:
            connection.send_json(stream.DONE, None)
            Destination(endpoint, connection, order).serve()
        # Only now: the guest and its device have come to rest.
        connection.send_json(stream.DONE, None)
    except (RunFailed, UserError) as failure:
        say(str(failure))
        return EXIT_FAILED
    finally:
        connection.close()
    return 0
