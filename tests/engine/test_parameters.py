"""Parameters: declared once, as fields."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from support.fakes import Careful, Steady

from vfbench import parameters
from vfbench.errors import UserError
from vfbench.experiment import GROUPS, Driver, Guest, Link, Phases, Precopy
from vfbench.report.listing import help_text
from workloads import ALL_WORKLOADS

CLASSES = [*GROUPS.values(), Careful, Steady, *ALL_WORKLOADS]


def test_the_users_name_has_dashes_and_no_unit() -> None:
    assert [each.name for each in parameters.parameters_of(Guest)] == [
        "memory",
        "queues",
        "packet-memory",
        "dirty-log",
        "host-pages",
        "zero-memory",
    ]


@pytest.mark.parametrize(
    "spelling", ["packet-memory", "packet_memory", "packet_memory_bytes", "packet-memory-bytes"]
)
def test_a_parameter_answers_to_dashes_underscores_and_its_full_name(spelling: str) -> None:
    assert parameters.change(Guest(), {spelling: "8MiB"}).packet_memory_bytes == 8 << 20


@pytest.mark.parametrize("owner", CLASSES)
def test_no_two_parameters_share_a_name_and_all_have_help(owner: type) -> None:
    known = parameters.parameters_of(owner)
    assert len({each.name for each in known}) == len(known)
    assert all(each.help for each in known)


@pytest.mark.parametrize("owner", CLASSES)
def test_every_default_survives_text_and_json(owner: type[Any]) -> None:
    made = owner()
    texts = {each.name: each.format(each.default) for each in parameters.parameters_of(owner)}
    assert parameters.change(made, texts) == made
    assert parameters.from_json(owner, parameters.to_json(made)) == made


def test_json_holds_every_parameter() -> None:
    assert parameters.to_json(Careful()) == {"touched_bytes": 1, "atomic": False, "mode": "strict"}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("memory", "3MiB", "guest.memory: 3MiB is out of range (64MiB to 4TiB, a multiple of 4KiB)"),
        ("memory", "100000001B", "guest.memory: 100000001B is no multiple of 4KiB"),
        ("memory", "4", "guest.memory: '4' is no size"),
        ("queues", "17", "guest.queues: 17 is out of range (1 to 16)"),
        ("queues", "two", "guest.queues: 'two' is no count"),
        ("dirty-log", "magic", "guest.dirty-log: 'magic' is not one of write-protect | pml"),
    ],
)
def test_a_value_that_wont_do_is_named_with_what_would(name: str, text: str, complaint: str) -> None:
    with pytest.raises(UserError) as refused:
        parameters.change(Guest(), {name: text})
    assert complaint in str(refused.value)


def test_an_unknown_parameter_brings_the_closest_one_first() -> None:
    with pytest.raises(UserError) as refused:
        parameters.change(Guest(), {"memroy": "1GiB"})
    assert str(refused.value) == (
        "guest has no parameter 'memroy' - did you mean 'memory'? "
        "There are: memory, queues, packet-memory, dirty-log, host-pages, zero-memory"
    )


def test_two_spellings_of_one_parameter_are_refused() -> None:
    with pytest.raises(UserError, match=r"guest.memory is set twice"):
        parameters.change(Guest(), {"memory": "1GiB", "memory_bytes": "2GiB"})


@pytest.mark.parametrize("value", [True, 1.5, "1", None, -1])
def test_a_value_of_another_type_or_below_zero_is_refused_in_python_too(value: Any) -> None:
    with pytest.raises(UserError, match=r"link.peer-turnaround"):
        Link(peer_turnaround_ns=value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5, 2.5])
def test_no_fraction_is_nan_infinite_or_out_of_range(value: float) -> None:
    with pytest.raises(UserError, match=r"steady\.skew"):
        parameters.validate(Steady(skew=value))


@pytest.mark.parametrize("size", [63, 100, 8192])
def test_a_ring_has_a_power_of_two_of_descriptors(size: int) -> None:
    with pytest.raises(UserError, match=r"driver\.rx-ring"):
        Driver(rx_ring=size)


def test_packet_memory_leaves_room_for_the_guest() -> None:
    with pytest.raises(UserError, match=r"guest.packet-memory: 64MiB is over half of guest.memory \(64MiB\)"):
        Guest(memory_bytes=64 << 20)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("on", True), ("No", False), ("0", False)])
def test_a_switch_takes_the_usual_words(text: str, value: bool) -> None:
    assert parameters.change(Careful(), {"atomic": text}).atomic is value


def test_a_whole_number_where_a_fraction_is_wanted_becomes_one() -> None:
    made = dataclasses.replace(Steady(), skew=1)
    parameters.validate(made)
    assert repr(made.skew) == "1.0"


def test_help_names_meaning_default_and_range() -> None:
    assert help_text(parameters.find(Precopy, "max-rounds")) == (
        "give up (not-converged) after this many dirty-log syncs [default 30; 1 to 100000]"
    )


def test_what_differs_from_the_default_is_told_as_text() -> None:
    assert parameters.changed(Phases(packets=20_000, after_ns=1_500_000)) == {
        "packets": "20000",
        "after": "1500us",
    }
