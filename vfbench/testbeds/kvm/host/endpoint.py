"""One process's end of a run: a VM, the thread that runs its vCPU, and the host thread beside it.

The source's process and the destination's each have one. They share the bench's records and nothing else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfbench.errors import RunFailed
from vfbench.kernels import Kernel, address_of
from vfbench.layout import STRUCTURES, lay_out, virtqueue_size
from vfbench.machine.costs import DESCRIPTOR_WRITE_BACK_TIMEOUT
from vfbench.machine.memory.faults import OutsideMemoryError, explain_fault
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.vf.registers import QUEUE_REGISTERS
from vfbench.machine.wire import FRAMES
from vfbench.testbeds.binding import TRANSLATE, HostStructures, Sources, bind_areas, bind_host
from vfbench.testbeds.kvm.guest import guest_abi
from vfbench.testbeds.kvm.guest.guest_abi import COMMAND, COMMAND_ARGUMENT_0, COMMAND_ARGUMENT_1, NO_COMMAND
from vfbench.testbeds.kvm.host.host_records import HOST, BenchRecords
from vfbench.testbeds.kvm.host.host_thread import host_loop
from vfbench.testbeds.kvm.host.service import Service, records
from vfbench.testbeds.kvm.host.view import KvmView
from vfbench.testbeds.kvm.migrate.outcome import OutsideMemory, Stop
from vfbench.testbeds.kvm.sys import boot, registers
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

if TYPE_CHECKING:
    from vfbench.experiment import Experiment

WAIT_LIMIT_S = 20.0
"""For a guest or a thread of this process that lives. It may be starved on a busy host, so this is long.

Whatever is dead is found out sooner, by others: a guest that does not exit by its vCPU's clock, within 4.5 s
(``vcpu.DEFAULT_SILENCE_LIMIT_S``), and a process that is gone or stands still by its silence on the stream, within 4 s
(``stream.SILENCE_LIMIT_S``), on which one that merely waits here is never silent. So every ending comes within 5 s.
"""
_POLL_S = 0.0005


def vm_bytes(experiment: Experiment) -> int:
    """Memory of the VM: the experiment's, above the testbed's own 2 MiB."""
    whole = -(-experiment.guest.memory_bytes // boot.LARGE_PAGE_BYTES) * boot.LARGE_PAGE_BYTES
    return boot.FREE_BASE + whole


class Endpoint:
    """`with Site(...) as site:` - threads are ended and descriptors closed at the end of the block.

    ``host`` is the device's and the hypervisor's view of the guest. ``mapped``, ``logged``, ``device_wrote``: one
    byte per page.
    """

    def __init__(self, experiment: Experiment, bench: BenchRecords, memory_fd: int | None = None) -> None:
        self.experiment = experiment
        self.bench = bench
        self.layout = lay_out(experiment, boot.FREE_BASE)
        self.fault: Exception | None = None
        self.stop: Stop | None = None
        self._vcpu_thread: threading.Thread | None = None
        self._host_thread: threading.Thread | None = None
        with ExitStack() as stack:
            self.vm = stack.enter_context(VirtualMachine(vm_bytes(experiment), memory_fd=memory_fd))
            stack.callback(self._end_threads)
            self._marks = np.zeros((4, self.vm.memory.size_bytes // PAGE_BYTES), np.uint8)
            self.device_wrote, self.mapped_written, self.logged, self.mapped = self._marks
            self._fill_host()
            self._fill_layout()
            self._bind_mechanisms()
            self._serve_exits()
            # Compiled now: the guest must not have to wait for its device.
            address_of(host_loop, *self._host_arguments)
            if any(each.exit_to == "kernel" for each in experiment.strategy.mechanisms):
                self._take_kernel_exits(stack)
            self._resources = stack.pop_all()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    # -- the vCPU's thread

    def start_vcpu(self) -> None:
        """Run the vCPU from where it stands."""
        self.stop = None
        self.host.leaves = 0
        self.host.guest_runs = 1
        # In lockstep the host thread leaves clock and device to the vCPU's.
        self.await_turn()
        self._vcpu_thread = threading.Thread(target=self._run_vcpu, name="vcpu", daemon=True)
        self._vcpu_thread.start()

    def pause_vcpu(self) -> None:
        """Kick the vCPU out of the guest, wherever it is, and wait until it is out."""
        thread, self._vcpu_thread = self._vcpu_thread, None
        if thread is None:
            return
        # The kick first: a vCPU that leaves its wait must not run another instruction.
        self.vm.vcpu.kick()
        self.host.leaves = 1
        thread.join(WAIT_LIMIT_S)
        if thread.is_alive():
            raise RunFailed(f"the vCPU did not stop within {WAIT_LIMIT_S:g} s")
        self.host.guest_runs = 0

    def settle(self) -> None:
        """In lockstep: wait until nothing more can happen while the clock stands."""
        if not self.bench.wire.lockstep:
            return
        self.host.asked += 1
        self._wait(lambda: self.host.settled == self.host.asked, "the guest did not come to rest")

    def check(self) -> None:
        """RunFailed if the guest can't go on, or left by itself."""
        if self.fault is not None:
            raise RunFailed(self._explained(self.fault)) from self.fault
        if self.stop is not None and self.stop.reason != "kicked":
            raise RunFailed(f"the guest's program ended: {self.stop}")

    def command(self, code: int, first: int = 0, second: int = 0) -> None:
        """Have the guest's driver do something, and wait until it is done."""
        self.word(COMMAND_ARGUMENT_0)[0] = first
        self.word(COMMAND_ARGUMENT_1)[0] = second
        self.word(COMMAND)[0] = code
        # Whoever waits in an exit looks for a command when it is asked.
        self.host.asked += 1
        self._wait(lambda: self.word(COMMAND)[0] == NO_COMMAND, "the guest did not obey")
        self.settle()

    def _wait(self, condition: Callable[[], bool], failure: str) -> None:
        until = time.monotonic() + WAIT_LIMIT_S
        while not condition():
            self.check()
            if time.monotonic() > until:
                raise RunFailed(f"{failure} within {WAIT_LIMIT_S:g} s")
            time.sleep(_POLL_S)

    def word(self, gpa: int, count: int = 1) -> npt.NDArray[np.int64]:
        """Words of guest memory, by guest-physical address."""
        return self.vm.memory.view(gpa, np.int64, count)

    def _run_vcpu(self) -> None:
        try:
            self.stop = self.vm.run()
        except Exception as fault:
            self.fault = fault

    # -- the host thread

    def start_host_thread(self, *, drives_wire: bool) -> None:
        """Let clock, peer and device take their turns; ``drives_wire``: the peer and the clock are ours."""
        self.host.stop = 0
        self.host.drives_wire = int(drives_wire)
        self._host_thread = threading.Thread(
            target=self._run_host, args=(self._host_arguments,), name="host", daemon=True
        )
        self._host_thread.start()

    def _run_host(self, arguments: tuple[Any, ...]) -> None:
        try:
            host_loop(*arguments)
        except Exception as fault:
            self.fault = fault
            self.host.running = 0

    def _explained(self, fault: Exception) -> str:
        if isinstance(fault, OutsideMemoryError):
            return explain_fault([self.host], self.experiment.strategy.name)
        if isinstance(fault, RunFailed) and not isinstance(fault, OutsideMemory):
            return str(fault)
        return f"strategy {self.experiment.strategy.name!r}: {fault}"

    def stop_host_thread(self) -> None:
        """End it and wait for it."""
        thread, self._host_thread = self._host_thread, None
        if thread is not None:
            self.host.stop = 1
            thread.join()

    def await_turn(self) -> None:
        """Wait until the host thread has begun and ended a turn: what it was doing is done."""
        seen, until = int(self.host.turns), time.monotonic() + WAIT_LIMIT_S
        while self._host_thread is not None and self.host.turns < seen + 2:
            if time.monotonic() > until:
                raise RunFailed(f"the host thread made no turn within {WAIT_LIMIT_S:g} s")
            time.sleep(_POLL_S)

    @property
    def _host_arguments(self) -> tuple[Any, ...]:
        bench = self.bench
        return (self.host, bench.wire, bench.source, self._frames, bench.pair)

    @contextmanager
    def work_held(self) -> Iterator[None]:
        """Mechanisms' threads rest meanwhile: what they share with the migration's thread is the latter's."""
        self.host.work_held = 1
        self.await_turn()
        try:
            yield
        finally:
            self.host.work_held = 0

    def take_device_away(self) -> None:
        """The device is the destination's from now on; the peer may still be ours."""
        self.host.has_device = 0
        self.await_turn()

    def _end_threads(self) -> None:
        self.pause_vcpu()
        self.stop_host_thread()

    # -- records

    def _fill_host(self) -> None:
        self._hosts, self._frames_array = records(HOST), records(FRAMES)
        self.host, self._frames = self._hosts[0], self._frames_array[0]
        host = self.host
        host.memory = self.vm.memory.address
        for name in ("device_wrote", "mapped_written", "logged", "mapped"):
            host[name] = getattr(self, name).ctypes.data
        host.guest_port = self.vm.memory.address + guest_abi.PAIR_GPA
        host.has_device = 1
        host.seed = self.experiment.seed
        host.cost[DESCRIPTOR_WRITE_BACK_TIMEOUT] = self.bench.wire.write_back_timeout_ps
        fields: Any = HOST.fields
        host.timespec_address = self._hosts.ctypes.data + fields["timespec"][1]
        kernels = type(self.experiment.workload)
        host.arrivals = address_of(kernels.arrivals, self.bench.source, self._frames, 0)
        host.peer_received = address_of(kernels.peer_received, self.bench.source, 0, 0, 0)

    def _fill_layout(self) -> None:
        """The device's and the hypervisor's view of the guest's structures."""
        host, layout, driver = self.host, self.layout.queues[0], self.experiment.driver
        for name in STRUCTURES:
            host[name] = getattr(layout, name).base
        host.first_page, host.pool_pages = layout.packets.base, layout.packets.pages
        host.rx_size, host.tx_size = driver.rx_ring, driver.tx_ring
        host.virtqueue_size = virtqueue_size(self.experiment.strategy)
        host.words = self.vm.memory.address
        host.structure_bytes = host.backed_bytes = self.vm.memory.size_bytes

    def _bind_mechanisms(self) -> None:
        strategy = self.experiment.strategy

        def address(function: Kernel, arguments: int) -> int:
            if arguments == TRANSLATE:
                return address_of(function, self.host, self.bench.pair, 0, 0, 0)
            return address_of(function, self.host, *[0] * (1 + arguments))

        self.host_structures = HostStructures(self.experiment)
        bind_areas(self.host, self.layout.queues[0])
        bind_host(self.host, strategy, None, self.host_structures, address)
        self.sources = Sources(strategy.mechanisms, lambda slot: KvmView(self, slot))

    def set_tracking(self, on: bool) -> None:
        """The guest learns that tracking begins or ends, then the host's side of each mechanism."""
        self.command(guest_abi.ARM if on else guest_abi.DISARM)
        if on:
            self.sources.arm()
        else:
            self.sources.disarm()

    def _serve_exits(self) -> None:
        vcpu = self.vm.vcpu
        vcpu.service = Service(*self._host_arguments)
        for pair in guest_abi.SERVED_PORTS:
            vcpu.registers.actions[pair] = registers.SERVED
        for _, offset in QUEUE_REGISTERS:
            vcpu.registers.actions[registers.mmio(offset)] = registers.SERVED

    def _take_kernel_exits(self, stack: ExitStack) -> None:
        eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        stack.callback(os.close, eventfd)
        self.vm.assign_ioeventfd(guest_abi.KERNEL_EXIT, eventfd)
