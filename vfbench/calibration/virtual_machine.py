"""What KVM costs here: exits by class, the first store to a page under the log, a sync of the log.

Guest code that is emulated instead of run (nested without hardware's help, say) makes every exit and every store
slower by an unknown factor: then only what the host's kernel does by itself is measured, and the rest is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import numpy as np
from numba import types

from vfbench.calibration.loops import scan_bitmap, store_to_pages
from vfbench.calibration.measurement import NotMeasured, Probe
from vfbench.calibration.memory import PAGE_BYTES, timed_ns
from vfbench.errors import RunFailed, UserError
from vfbench.testbeds.kvm.doctor import is_emulated, ns_per_instruction_of
from vfbench.testbeds.kvm.guest.code import GuestCode, compile_guest
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

MEMORY_BYTES: Final = 1 << 30
EXITS: Final = 1 << 12
PAGES: Final = 1 << 12
KICK_PORT: Final = 2

# The count comes in rdx; each ends in `xor %eax,%eax; ret`.
_OUT_OFTEN: Final = GuestCode("out often", bytes.fromhex("e701 48ffca 75f9 31c0 c3"), 0, 1)
_KICK_OFTEN: Final = GuestCode("kick often", bytes.fromhex("e702 48ffca 75f9 31c0 c3"), 0, 1)
# 1: mov $1,%eax (KVM_HC_VAPIC_POLL_IRQ, which does nothing); vmcall; dec %rdx; jnz 1b
_VMCALL_OFTEN: Final = GuestCode("vmcall often", bytes.fromhex("b801000000 0f01c1 48ffca 75f3 31c0 c3"), 0, 1)

NATIVE_ONLY: Final = (
    "exit_user_space",
    "exit_hypercall",
    "ioeventfd_kick",
    "write_fault",
    "log_sync_per_page",
)
ANYWHERE: Final = ("log_sync_per_gib",)


class KvmBench:
    """A VM of 1 GiB and what is timed in it; close it when done."""

    def __init__(self) -> None:
        self._resources = ExitStack()
        self.vm = self._resources.enter_context(VirtualMachine(MEMORY_BYTES))
        self.ns_per_instruction = ns_per_instruction_of(self.vm)
        self._kick = os.eventfd(0, os.EFD_CLOEXEC)
        self._resources.callback(os.close, self._kick)
        self.vm.assign_ioeventfd(KICK_PORT, self._kick)
        self.vm.set_dirty_logging(True)

    def close(self) -> None:
        self._resources.close()

    def probes(self) -> Iterator[Probe | NotMeasured]:
        """What this VM can measure, and what it can't."""
        if is_emulated(self.ns_per_instruction):
            reason = f"guest code is emulated here, {self.ns_per_instruction:.0f} ns an instruction"
            yield from (NotMeasured(figure, reason) for figure in NATIVE_ONLY)
        else:
            yield from self._exits()
            yield from self._logged_stores()
        yield Probe(
            "log_sync_per_gib",
            "ns",
            "KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG of a slot of 1 GiB with no page dirty, and one pass of user "
            "space over its bitmap",
            self._sync_empty_ns,
        )

    def _exits(self) -> Iterator[Probe]:
        kinds = (
            (
                "exit_user_space",
                _OUT_OFTEN,
                "an OUT that ends KVM_RUN, handled in compiled code of this process",
            ),
            ("exit_hypercall", _VMCALL_OFTEN, "a VMCALL that KVM answers in the kernel"),
            (
                "ioeventfd_kick",
                _KICK_OFTEN,
                "an OUT that KVM turns into a count of an eventfd nobody waits for",
            ),
        )
        for figure, code, method in kinds:
            entry = self.vm.load(code)
            yield Probe(figure, "ns", f"{method}; {EXITS} of them", lambda e=entry: self._per_exit_ns(e))  # type: ignore[misc]

    def _per_exit_ns(self, entry: int) -> float:
        return timed_ns(lambda: self.vm.call(entry, EXITS)) / EXITS

    def _logged_stores(self) -> Iterator[Probe]:
        self._entry = self.vm.load(compile_guest(store_to_pages, (types.int64,) * 3))
        yield Probe(
            "write_fault",
            "ns",
            f"a store to each of {PAGES} pages after a sync of KVM's dirty log, less the same once more",
            self._first_store_ns,
        )
        yield Probe(
            "log_sync_per_page",
            "ns",
            f"KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG with {PAGES} of 1 GiB's pages dirty, less the same with none",
            self._sync_per_page_ns,
        )

    def _store(self) -> None:
        self.vm.call(self._entry, boot.FREE_BASE, PAGES, PAGE_BYTES)

    def _first_store_ns(self) -> float:
        self.vm.log.clear(self.vm.log.get())
        return max(0.0, timed_ns(self._store) - timed_ns(self._store)) / PAGES

    def _sync_per_page_ns(self) -> float:
        self._sync()
        self._store()
        return max(0.0, timed_ns(self._sync) - timed_ns(self._sync)) / PAGES

    def _sync(self) -> None:
        self.vm.log.clear(self.vm.log.get())

    def _sync_empty_ns(self) -> float:
        def sync() -> None:
            bitmap = self.vm.log.get()
            self.vm.log.clear(bitmap)
            words = bitmap.view(np.int64)
            scan_bitmap(words.ctypes.data, words.size)

        return timed_ns(sync) / (MEMORY_BYTES >> 30)


def open_kvm_bench() -> KvmBench | str:
    """A VM to measure in, or why there is none here."""
    try:
        return KvmBench()
    except (UserError, RunFailed, OSError) as error:
        return str(error)
