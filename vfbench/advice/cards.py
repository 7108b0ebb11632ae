"""The table of cards and versions: `cards.toml`, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from vfbench.errors import UserError

FILE: Final = Path(__file__).with_name("cards.toml")


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vfio-pci variant driver of the host, and the first kernel that has it."""

    module: str
    option: str
    kernel: str


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A card and its VFs; `variant` is None where the kernel has no driver that migrates them."""

    name: str
    ids: tuple[str, ...]
    driver: str
    state_bytes: int
    pre_copy: bool
    p2p: bool
    dirty_log: bool
    vdpa: bool
    profile: str
    sure: str
    source: str
    variant: Variant | None = None
    firmware: str = ""
    qemu: str = ""
    libvirt: str = ""
    vfs_at_once: int = 0


class Software(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a capability asks of kernel, QEMU and IOMMU, whatever the card."""

    sure: str
    source: str
    kernel: str = ""
    qemu: str = ""
    iommu: tuple[str, ...] = ()


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    card: tuple[Card, ...]
    software: Mapping[str, Software]


@cache
def table() -> Table:
    """The shipped table; msgspec.ValidationError says where it is not whole."""
    return msgspec.toml.decode(FILE.read_bytes(), type=Table)


def find_card(text: str) -> Card:
    """The card of that name, PCI id or guest driver; UserError lists what is known.

    Case and spaces do not matter, and a part of a name does where only one card has it.
    """
    wanted = _plain(text)
    cards = table().card
    found = [card for card in cards if text.lower() in card.ids or wanted == _plain(card.name)]
    found = found or [card for card in cards if wanted and wanted in _plain(card.name)]
    found = found or [card for card in cards if wanted == _plain(card.driver)]
    if len(found) == 1:
        return found[0]
    between = found or cards
    raise UserError(
        f"--card {text!r} is {'more than one card' if found else 'no card of the table'}; there are "
        f"{', '.join(card.name for card in between)}"
    )


def card_of_ids(ids: str) -> Card | None:
    """The card with this PCI `vendor:device`, or None."""
    return next((card for card in table().card if ids in card.ids), None)


def version(text: str) -> tuple[int, ...]:
    """The numbers at the start of a version, like (6, 12, 5) of `6.12.5-amd64`; UserError without one."""
    found = re.match(r"\D{0,3}(\d+(?:\.\d+)*)", text.strip())
    if found is None:
        raise UserError(f"{text!r} is no version; give one like 6.12 or 28.41.1000")
    return tuple(int(part[:9]) for part in found[1].split("."))


def older(have: str, wanted: str) -> bool:
    """Whether version `have` comes before `wanted`; 6.7 does not come before 6.7.0."""
    return _padded(version(have)) < _padded(version(wanted))


def _padded(parts: tuple[int, ...]) -> tuple[int, ...]:
    return parts + (0,) * (8 - len(parts))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
