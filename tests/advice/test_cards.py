"""The table of cards: whole, sourced, found by name, id or driver; versions in their order."""

from __future__ import annotations

import pytest

from vfbench.advice.cards import card_of_ids, find_card, older, table, version
from vfbench.errors import UserError
from vfbench.profiles import shipped_profiles
from vfbench.profiles.machine import CAPABILITIES


def test_every_card_has_a_source_a_grade_and_a_profile_that_ships():
    for card in table().card:
        assert card.source
        assert card.sure in ("A", "B", "C")
        assert card.profile in shipped_profiles()


def test_no_two_cards_share_an_id():
    ids = [each for card in table().card for each in card.ids]
    assert len(ids) == len(set(ids))
    assert all(each == each.lower() and len(each) == 9 for each in ids)


def test_what_asks_for_software_is_a_capability():
    assert set(table().software) <= set(CAPABILITIES)


def test_the_cards_with_a_variant_driver_are_those_of_linux_7_3():
    modules = {card.variant.module for card in table().card if card.variant}
    assert modules == {
        "mlx5_vfio_pci",
        "pds_vfio_pci",
        "virtio_vfio_pci",
        "hisi_acc_vfio_pci",
        "qat_vfio_pci",
        "xe_vfio_pci",
    }


@pytest.mark.parametrize("text", ["ConnectX-7", "connectx7", "15b3:101e", "15B3:1021"])
def test_a_card_is_found_by_name_or_pci_id(text):
    assert find_card(text).name == "ConnectX-7"


def test_a_card_is_found_by_a_part_of_its_name_that_no_other_has():
    assert find_card("e810").name == "Intel E810"
    assert find_card("82599").name == "Intel 82599"


def test_a_part_that_several_have_is_refused_with_them():
    with pytest.raises(
        UserError, match=r"'connectx' is more than one card; there are ConnectX-7, ConnectX-6 Dx"
    ):
        find_card("connectx")


def test_an_unknown_card_is_refused_with_those_there_are():
    with pytest.raises(UserError, match=r"'atlantis' is no card of the table; there are ConnectX-7"):
        find_card("atlantis")
    assert card_of_ids("dead:beef") is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("6.12.5-amd64", (6, 12, 5)),
        ("v7.3", (7, 3)),
        ("28.41.1000", (28, 41, 1000)),
        ("6.18.44-fc-v7", (6, 18, 44)),
    ],
)
def test_a_version_is_the_numbers_that_it_begins_with(text, numbers):
    assert version(text) == numbers


@pytest.mark.parametrize(
    ("have", "wanted", "is_older"),
    [
        ("6.6", "6.7", True),
        ("6.12", "6.7", False),
        ("6.7", "6.7.0", False),
        ("28.40.9999", "28.41.1000", True),
    ],
)
def test_versions_are_compared_number_by_number(have, wanted, is_older):
    assert older(have, wanted) is is_older


def test_what_has_no_number_is_no_version():
    with pytest.raises(UserError, match=r"'recent' is no version; give one like 6\.12"):
        version("recent")
