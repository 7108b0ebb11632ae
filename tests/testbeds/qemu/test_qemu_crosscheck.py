"""The model against the real driver: what agrees, what differs, and what differs for a reason that is named."""

import dataclasses

import pytest

from strategies import ALL_STRATEGIES
from vfbench.errors import UserError
from vfbench.records import Outcome
from vfbench.sweeps.shipped import SWEEPS
from vfbench.testbeds.crosscheck_qemu import Check, compared, crosscheck, describe, planned, read_variants
from workloads import ALL_WORKLOADS

STRATEGIES = {each.name: each for each in ALL_STRATEGIES}
FILE = SWEEPS / "crosscheck-qemu.toml"
WORKLOADS = {each.name: each for each in ALL_WORKLOADS}


def outcome(maps=500, unmaps=500, pages=250, state="ok", reason="", **measures):
    steady = {"phase": "steady", "packets_offered": 1000, "dirty_pages_dma": pages}
    return Outcome(state, reason, {"iommu_maps": maps, "iommu_unmaps": unmaps, **measures}, [], [steady], 1.0)


def differing(model, real):
    return [row.what for row in compared(model, real) if not row.agrees]


def test_counts_within_their_tolerance_agree():
    assert differing(outcome(), outcome(maps=520, unmaps=480, pages=270)) == []


def test_counts_beyond_it_differ_and_are_named():
    assert differing(outcome(), outcome(maps=580)) == ["maps a packet"]
    assert differing(outcome(), outcome(pages=290)) == ["pages written by the device a packet"]


def test_damage_is_compared_by_class_and_not_by_count():
    assert differing(outcome(packets_corrupted=3), outcome(packets_corrupted=300)) == []
    assert differing(outcome(packets_corrupted=0), outcome(packets_corrupted=1)) == ["packets_corrupted"]


def test_of_a_run_that_failed_its_reason_is_said_and_nothing_else_compared():
    (row,) = compared(outcome(), outcome(state="failed", reason="the source QEMU was ended by SIGKILL"))
    assert not row.agrees
    assert "SIGKILL" in row.real


def checked(name, model, real):
    plan = [
        (variant, experiment)
        for variant, experiment in planned(read_variants(FILE), STRATEGIES, WORKLOADS, ["emulated-iommu"])
        if variant.name == name
    ]
    (check,) = crosscheck(plan, lambda experiment: model, lambda experiment: real)
    return check


def test_a_difference_is_excused_only_where_its_variant_names_what_the_model_lacks():
    never_unmapped = outcome(unmaps=0)
    named = checked("strict, held", outcome(), never_unmapped)
    assert (named.agrees, named.explained) == (False, True)
    assert "IS_ERR(skb)" in "\n".join(describe(named))
    unnamed = checked("strict, soon freed", outcome(), never_unmapped)
    assert (unnamed.agrees, unnamed.explained) == (False, False)
    assert "DIFFER" in describe(unnamed)[0]


def test_on_the_real_side_is_run_what_a_stock_guest_has():
    seen = []
    plan = planned(read_variants(FILE), STRATEGIES, WORKLOADS, ["dummy-write"])
    for _ in crosscheck(plan, lambda experiment: outcome(), lambda each: seen.append(each) or outcome()):
        pass
    assert {each.testbed for each in seen} == {"qemu"}
    assert {each.strategy.descriptors for each in seen} == {False}


def test_every_variant_is_planned_and_no_two_are_alike():
    plan = planned(read_variants(FILE), STRATEGIES, WORKLOADS)
    assert len(plan) == len(read_variants(FILE).experiment) >= 8
    assert len({dataclasses.replace(experiment, seed=1).digest for _, experiment in plan}) == len(plan)


def test_a_check_says_in_its_first_line_whether_the_two_agree():
    check = Check(read_variants(FILE).experiment[0], tuple(compared(outcome(), outcome())))
    assert describe(check)[0] == "untracked, soon freed: agree"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "common"),
        ('experiment = 5\n[common]\nworkload = "bulk"\nset = {}', "Expected `array`, got `int`"),
        ('[common]\nworkload = "bulk"\nset = {}\n[[experiment]]\nname = "a"\nstrategi = "b"', "strategi"),
    ],
)
def test_a_file_of_experiments_that_will_not_do_is_refused_by_name(tmp_path, text, complaint):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_variants(tmp_path / "x.toml")
