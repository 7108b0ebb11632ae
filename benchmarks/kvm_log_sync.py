"""What a sync of the kernel's dirty log costs per GiB, in the phases of the kernel's own dirty_log_perf_test.

Enable the log, dirty a share of the pages, get the log, clear it, get it again when it is empty, disable it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numba import types

from vfbench.errors import UserError
from vfbench.testbeds.kvm.guest.code import compile_guest
from vfbench.testbeds.kvm.sys import boot
from vfbench.testbeds.kvm.sys.raw_memory import store_i64
from vfbench.testbeds.kvm.sys.vm import VirtualMachine

MEMORY_BYTES = 1 << 30
SHARES = (0.0, 0.01, 0.1)
REPEATS = 5


def store_to_pages(address: int, pages: int, stride: int) -> None:
    for page in range(pages):
        store_i64(address + page * stride, page + 1)


def best_ms(action: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """The best of several."""
    times = []
    for _ in range(REPEATS):
        prepare()
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


def main() -> None:
    pages = (MEMORY_BYTES - boot.FREE_BASE) // boot.PAGE_BYTES
    with VirtualMachine(MEMORY_BYTES) as vm:
        vm.memory.bytes[boot.FREE_BASE :: boot.PAGE_BYTES] = 1
        entry = vm.load(compile_guest(store_to_pages, (types.int64,) * 3))
        on = best_ms(lambda: vm.set_dirty_logging(True), lambda: vm.set_dirty_logging(False))
        print(f"1 GiB, manual protection {'on' if vm.log.manual_protect else 'off'}")
        print(f"enable the log: {on:.3f} ms")
        for share in SHARES:
            dirty = int(share * pages)
            stride = boot.PAGE_BYTES * max(1, pages // max(1, dirty))

            def dirty_them(dirty: int = dirty, stride: int = stride) -> None:
                vm.log.clear(vm.log.get())
                if dirty:
                    vm.call(entry, boot.FREE_BASE, dirty, stride)

            get = best_ms(vm.log.get, dirty_them)
            bitmap = vm.log.get()
            clear = best_ms(lambda bitmap=bitmap: vm.log.clear(bitmap), dirty_them)
            found = int(np.unpackbits(bitmap.view(np.uint8)).sum())
            print(f"{found} pages dirty: get {get:.3f} ms, clear {clear:.3f} ms")
        off = best_ms(lambda: vm.set_dirty_logging(False), lambda: vm.set_dirty_logging(True))
        print(f"disable the log: {off:.3f} ms")


if __name__ == "__main__":
    try:
        main()
    except UserError as reason:
        print(reason)
