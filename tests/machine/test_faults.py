"""Guest code that goes where there is no memory, or raises, ends its run with one line; nothing crashes."""

from __future__ import annotations

from typing import Any

import pytest
from support import strays
from support.runs import MIB, MS, run

from vfbench.errors import RunFailed
from vfbench.experiment import Driver, Guest, Phases
from workloads import SmallPackets


def failure_of(function: Any) -> str:
    with pytest.raises(RunFailed) as failed:
        run(
            strays.Strays(function),
            SmallPackets(),
            guest=Guest(memory_bytes=64 * MIB, packet_memory_bytes=MIB),
            driver=Driver(rx_ring=64, tx_ring=64, page_reuse="none"),
            phases=Phases(warmup_ns=MS // 4, steady_ns=MS // 2, after_ns=MS, interval_ns=MS // 2),
        )
    return str(failed.value)


@pytest.mark.parametrize(
    "function",
    [
        strays.store_far,
        strays.load_far,
        strays.store_field_far,
        strays.load_field_far,
        strays.rewrite_far,
        strays.copy_far,
        strays.copy_from_far,
        strays.host_loads_far,
        strays.host_logs_far,
        strays.host_maps_far,
    ],
)
def test_an_access_outside_guest_memory_is_a_failed_run_that_says_where(function: Any) -> None:
    assert failure_of(function).startswith(
        "strategy 'strays': access outside guest memory at 0x10000000000 (memory begins at 0x1000 and ends at 0x"
    )


def test_an_address_that_was_never_set_is_outside_memory() -> None:
    assert "at 0x0 " in failure_of(strays.store_nowhere)


def test_a_negative_address_is_outside_memory() -> None:
    assert "at 0xfffffffffffffff8 " in failure_of(strays.store_below_zero)


def test_an_index_that_a_hook_spoils_leads_the_driver_outside_memory_and_not_the_process() -> None:
    assert failure_of(strays.spoil_the_ring_index).startswith(
        "strategy 'strays': access outside guest memory at 0x"
    )


def test_a_free_list_that_a_hook_spoils_leads_the_driver_outside_memory_and_not_the_process() -> None:
    assert failure_of(strays.spoil_the_free_list).startswith(
        "strategy 'strays': access outside guest memory at 0x"
    )


def test_what_a_hook_raises_is_the_reason_of_the_failed_run() -> None:
    assert failure_of(strays.raise_it) == "strategy 'strays': ValueError: a packet that long"
