"""Guest code that goes where there is no memory, or raises, ends its run with one line; nothing crashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from support.runs import MS, run

from vfbench.errors import RunFailed
from vfbench.experiment import Driver, Guest, Phases
from vfbench.machine.cpu import copy, dummy_write, load, load_field, store, store_field
from vfbench.machine.driver.state import NEXT_TO_USE
from vfbench.machine.host import host_load, log_page, note_mapped
from vfbench.mechanism import Mechanism, hook
from vfbench.mechanisms.backends import Vf
from vfbench.strategy import Migration, Strategy
from workloads import SmallPackets

MIB = 1 << 20
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


@dataclass(frozen=True)
class Stray(Mechanism):
    name: ClassVar[str] = "stray"

    hook: Any = None

    @property
    def sync_for_cpu(self) -> Any:
        return self.hook


@dataclass(frozen=True)
class Strays(Strategy):
    """A strategy whose hook strays."""

    name: ClassVar[str] = "strays"

    hook: Any = None

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(), Stray(self.hook))

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        migration.pause_guest()
        migration.stop_device()
        migration.copy_rest()
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()


def failure_of(function: Any) -> str:
    with pytest.raises(RunFailed) as failed:
        run(
            Strays(function),
            SmallPackets(),
            guest=Guest(memory_bytes=64 * MIB, packet_memory_bytes=MIB),
            driver=Driver(rx_ring=64, tx_ring=64, page_reuse="none"),
            phases=Phases(warmup_ns=MS // 4, steady_ns=MS // 2, after_ns=MS, interval_ns=MS // 2),
        )
    return str(failed.value)


@pytest.mark.parametrize(
    "function",
    [
        store_far,
        load_far,
        store_field_far,
        load_field_far,
        rewrite_far,
        copy_far,
        copy_from_far,
        host_loads_far,
        host_logs_far,
        host_maps_far,
    ],
)
def test_an_access_outside_guest_memory_is_a_failed_run_that_says_where(function: Any) -> None:
    assert failure_of(function).startswith(
        "strategy 'strays': access outside guest memory at 0x10000000000 (memory begins at 0x1000 and ends at 0x"
    )


def test_an_address_that_was_never_set_is_outside_memory() -> None:
    assert "at 0x0 " in failure_of(store_nowhere)


def test_a_negative_address_is_outside_memory() -> None:
    assert "at 0xfffffffffffffff8 " in failure_of(store_below_zero)


def test_an_index_that_a_hook_spoils_leads_the_driver_outside_memory_and_not_the_process() -> None:
    assert failure_of(spoil_the_ring_index).startswith("strategy 'strays': access outside guest memory at 0x")


def test_a_free_list_that_a_hook_spoils_leads_the_driver_outside_memory_and_not_the_process() -> None:
    assert failure_of(spoil_the_free_list).startswith("strategy 'strays': access outside guest memory at 0x")


def test_what_a_hook_raises_is_the_reason_of_the_failed_run() -> None:
    assert failure_of(raise_it) == "strategy 'strays': ValueError: a packet that long"
