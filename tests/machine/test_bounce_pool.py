"""How slots of a bounce pool are found: pages for what is larger than a slot, in turn, to the last one that is free."""

from __future__ import annotations

import pytest
from support.runs import machine

from strategies import BounceBuffers
from vfbench.mechanisms.bounce_pool import NEXT, SLOT_COUNT, find_slots, use_slots


@pytest.fixture
def pool():
    """A machine whose pool is made small, and its mechanism's slot."""
    made = machine(BounceBuffers(pool_bytes=1 << 20))
    slot = [each.name for each in made.experiment.strategy.mechanisms].index("bounce-pool")
    regions = made.layout.queues[0].mechanisms[slot]
    state = made.memory.words[regions["state"].base >> 3 : regions["state"].end >> 3]
    used = made.memory.words[regions["used"].base >> 3 : regions["used"].end >> 3]
    used[:] = 0
    state[NEXT >> 3], state[SLOT_COUNT >> 3] = 0, 8
    yield made.cpus[0], slot, state  # noqa: PT022  until here, since the memory is the machine's


@pytest.mark.parametrize(
    ("count", "next_slot", "found"), [(1, 3, 3), (2, 3, 4), (3, 1, 2), (3, 7, 0), (5, 0, 0)]
)
def test_what_is_larger_than_a_slot_begins_on_a_page(pool, count, next_slot, found):
    cpu, slot, state = pool
    state[NEXT >> 3] = next_slot
    assert find_slots(cpu, slot, count) == found


@pytest.mark.parametrize("next_slot", range(8))
def test_three_slots_are_found_wherever_they_are_free(pool, next_slot):
    cpu, slot, state = pool
    use_slots(cpu, slot, 0, 2, 1)
    use_slots(cpu, slot, 5, 3, 1)
    state[NEXT >> 3] = next_slot
    assert find_slots(cpu, slot, 3) == 2
    assert find_slots(cpu, slot, 4) == -1


def test_a_pool_without_so_many_slots_in_a_row_has_none(pool):
    cpu, slot, _ = pool
    use_slots(cpu, slot, 2, 3, 1)
    assert (find_slots(cpu, slot, 4), find_slots(cpu, slot, 2)) == (-1, 0)
