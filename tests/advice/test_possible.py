"""What a host can have at all, by card, driver, firmware and versions; a strategy's needs held against it."""

from __future__ import annotations

import dataclasses

import pytest

from vfbench.advice.cards import find_card
from vfbench.advice.facts import Facts, checked, over
from vfbench.advice.possible import findings
from vfbench.advice.ways import way_of
from vfbench.errors import UserError
from vfbench.profiles import load_profile

TODAY = Facts(
    card=find_card("connectx-7"),
    firmware="28.41.1000",
    kernel="7.3.4",
    guest_kernel="7.3.4",
    qemu="11.1",
    libvirt="11.0",
    iommu="vt-d-scalable",
    viommu=False,
)
PROFILE = load_profile("modern-100g")


def found(**changes):
    return findings(dataclasses.replace(TODAY, **changes), PROFILE)


def reasons(finding):
    return " | ".join(each.reason for each in finding.hindrances)


def test_a_host_of_today_has_everything_that_its_card_has():
    names = (
        "vf_state",
        "device_dirty_log",
        "vf_state_precopy",
        "p2p",
        "parallel_load",
        "iommu_dirty_bits",
        "vdpa",
    )
    assert [name for name in names if found()[name].has is not True] == []
    assert all(found()[name].assumed == () for name in names)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"card": find_card("e810")}, "no vfio-pci variant driver exists for Intel E810"),
        ({"card": find_card("dsa")}, "no vfio-pci variant driver exists for Intel DSA"),
        ({"card": None}, "no card was named"),
        ({"kernel": "6.6.9"}, "Linux 6.6.9 is older than 6.7"),
        ({"options": {"CONFIG_MLX5_VFIO_PCI": "n"}}, "built without CONFIG_MLX5_VFIO_PCI"),
        ({"bound": "vfio-pci"}, "bound to vfio-pci, not to mlx5_vfio_pci"),
        ({"bound": "other"}, "bound to another driver, not to mlx5_vfio_pci"),
        ({"firmware": "28.39.2048"}, "firmware 28.39.2048 is older than 28.41.1000"),
        ({"qemu": "8.0"}, "QEMU 8.0 is older than 8.1"),
        ({"libvirt": "8.5"}, "libvirt 8.5 is older than 8.6"),
        ({"migratable": False}, "not marked migratable"),
        ({"vfs": 5}, "at most 4 of a PF"),
    ],
)
def test_each_thing_that_keeps_a_vf_from_migrating_is_found_and_named(changes, words):
    finding = found(**changes)["vf_state"]
    assert finding.has is False
    assert words in reasons(finding)


def test_a_card_without_a_driver_has_no_remedy_and_an_old_kernel_has_one():
    assert not found(card=find_card("e810"))["vf_state"].can_be_had
    assert found(kernel="6.6")["vf_state"].can_be_had


def test_a_virtual_iommu_forbids_the_devices_log_and_not_its_state():
    assert found(viommu=True)["vf_state"].has is True
    assert "not logged, so QEMU refuses" in reasons(found(viommu=True)["device_dirty_log"])


def test_dirty_bits_take_an_iommu_that_has_them():
    assert found(iommu="amd")["iommu_dirty_bits"].has is True
    assert "it takes amd or vt-d-scalable or smmuv3" in reasons(found(iommu="vt-d")["iommu_dirty_bits"])


def test_failover_is_about_the_guests_kernel_and_dirty_bits_about_the_hosts():
    assert found(kernel="4.4")["failover"].has is True
    assert "Linux 4.4 is older than 4.17" in reasons(found(guest_kernel="4.4")["failover"])


def test_what_is_not_said_is_assumed_and_said_to_be():
    unknown = findings(Facts(card=find_card("connectx-7")), PROFILE)["device_dirty_log"]
    assert unknown.has is True
    assert "Linux 6.7 or newer, with CONFIG_MLX5_VFIO_PCI" in unknown.assumed
    assert "no virtual IOMMU in the guest" in unknown.assumed


def test_a_processor_without_pml_is_believed_over_the_profile():
    assert PROFILE.offers["pml"] is True
    assert found(pml=False)["pml"].has is False


def test_a_strategy_is_possible_where_its_needs_are_met_and_what_it_demands_may_be_changed():
    way = way_of("logger", ["device_dirty_log", "vf_state"], ["guest-virtio"], found(), TODAY)
    assert way.is_possible
    assert way.changes == ("a virtio-net device in the guest",)
    assert way.unmerged == ()


def test_a_strategy_whose_need_is_not_met_has_the_reasons_of_that_need():
    way = way_of("logger", ["device_dirty_log"], [], found(viommu=True), TODAY)
    assert not way.is_possible
    assert way.has_remedy
    assert "virtual IOMMU" in way.hindrances[0].reason


def test_a_strategy_that_demands_what_may_not_be_changed_says_how_to_allow_it():
    way = way_of("rewriter", [], ["guest-driver"], found(), TODAY)
    assert way.hindrances[0].remedy == "--may-change guest-driver"
    allowed = dataclasses.replace(TODAY, may_change=("guest-driver",))
    assert way_of("rewriter", [], ["guest-driver"], found(), allowed).unmerged == (
        "a changed VF driver in the guest",
    )


def test_a_count_is_held_against_what_there_is():
    way = way_of("wide", [("queues_per_vf", 32)], [], found(), TODAY)
    assert way.hindrances[0].reason == "queues_per_vf is 16, and 32 are needed"


def test_what_the_hardware_lacks_hypothetically_is_named():
    assert way_of("faulting", ["device_page_faults"], [], found(), TODAY).hypothetical == (
        "device_page_faults",
    )


@pytest.mark.parametrize(("needs", "demands"), [(["teleport"], []), ([], ["magic"])])
def test_a_word_that_is_none_is_a_mistake_of_the_strategy(needs, demands):
    with pytest.raises(KeyError):
        way_of("odd", needs, demands, found(), TODAY)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kernel": "new"}, "--kernel: 'new' is no version"),
        ({"guest_kernel": "old"}, "--guest-kernel: 'old' is no version"),
        ({"iommu": "big"}, "--iommu 'big': give one of vt-d, vt-d-scalable"),
        ({"bound": "glue"}, "--bound 'glue': give one of variant"),
        ({"may_change": ("mind",)}, "--may-change 'mind': give one of guest-driver"),
        ({"options": {"CONFIG_X": "maybe"}}, "--kernel-option CONFIG_X=maybe: give CONFIG_NAME=y, m or n"),
        ({"card": None, "card_text": "atlantis"}, "--card 'atlantis' is no card of the table"),
    ],
)
def test_a_fact_stated_badly_is_refused(changes, words):
    with pytest.raises(UserError) as refused:
        checked(dataclasses.replace(TODAY, **changes))
    assert words in str(refused.value)


def test_what_was_given_wins_over_what_was_found():
    facts = over(Facts(kernel="6.1", card=find_card("e810")), TODAY)
    assert (facts.kernel, facts.qemu, facts.card.name) == ("6.1", "11.1", "Intel E810")
