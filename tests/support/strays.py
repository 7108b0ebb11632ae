"""Strategies whose hooks stray: they go where the guest has no memory, spoil the driver's state, or raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.machine.cpu import copy, dummy_write, load, load_field, store, store_field
from vfbench.machine.driver.state import NEXT_TO_USE
from vfbench.machine.host import exit_to_hypervisor, host_load, log_page, note_mapped
from vfbench.mechanism import Mechanism, hook
from vfbench.mechanisms.backends import Vf
from vfbench.strategy import Migration, Strategy

FAR = 1 << 40


@hook
def store_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store(cpu, FAR, 1)


@hook
def store_below_zero(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store(cpu, -8, 1)


@hook
def store_nowhere(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store(cpu, 0, 1)


@hook
def load_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store(cpu, address, load(cpu, FAR))


@hook
def store_field_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store_field(cpu, FAR, 1)


@hook
def load_field_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store(cpu, address, load_field(cpu, FAR))


@hook
def rewrite_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    dummy_write(cpu, FAR, False, False)


@hook
def copy_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    copy(cpu, FAR, address, length)


@hook
def copy_from_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    copy(cpu, address, FAR, length)


@hook
def host_loads_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store(cpu, address, host_load(cpu, FAR))


@hook
def host_logs_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    log_page(cpu, FAR >> 12)


@hook
def host_maps_far(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    note_mapped(cpu, FAR >> 12)


@hook
def spoil_the_ring_index(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    store_field(cpu, cpu.driver + NEXT_TO_USE, FAR >> 4)


@hook
def spoil_the_free_list(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    for i in range(cpu.pool_pages):
        store_field(cpu, cpu.free_pages + 8 * i, FAR)


@hook
def raise_it(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    if length > 0:
        raise ValueError("a packet that long")


@hook
def leave(cpu: Any, slot: int, iova: int, address: int, length: int) -> None:
    exit_to_hypervisor(cpu, slot, 0, 0)


@hook
def log_far_when_told(host: Any, slot: int, reason: int, argument: int) -> None:
    log_page(host, FAR >> 12)


@dataclass(frozen=True)
class Stray(Mechanism):
    name: ClassVar[str] = "stray"

    hook: Any = None
    on_the_host: Any = None

    @property
    def sync_for_cpu(self) -> Any:
        return self.hook

    @property
    def hypercall(self) -> Any:
        return self.on_the_host

    @property
    def exit_to(self) -> str:
        return "user-space" if self.on_the_host else "none"


@dataclass(frozen=True)
class Strays(Strategy):
    """A strategy whose hook strays."""

    name: ClassVar[str] = "strays"

    hook: Any = None
    on_the_host: Any = None

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), Stray(self.hook, self.on_the_host))

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        migration.pause_guest()
        migration.stop_device()
        migration.copy_rest()
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
