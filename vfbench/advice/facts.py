"""What is known of a host, its guest and its card: given by options, read from the machine itself, or both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vfbench.advice.cards import Card, find_card, version
from vfbench.demands import CHANGES
from vfbench.errors import UserError

IOMMUS: Final = ("vt-d", "vt-d-scalable", "amd", "smmuv3", "none")
"""Kinds of IOMMU of a host; `vt-d-scalable` has second-stage dirty bits and nesting (Sapphire Rapids on)."""
DRIVERS: Final = ("variant", "vfio-pci", "other")
"""What the host has bound to the VF: its variant driver, plain vfio-pci, or something else."""


@dataclass(frozen=True)
class Facts:
    """What is known. None or an empty text is not known: what depends on it is said to be assumed.

    `options` are kernel options of the host as its configuration has them, `y`, `m` or `n`. `may_change` are words
    of :data:`vfbench.demands.CHANGES`.
    """

    card: Card | None = None
    card_text: str = ""
    vfs: int = 1
    firmware: str = ""
    kernel: str = ""
    guest_kernel: str = ""
    qemu: str = ""
    libvirt: str = ""
    bound: str = ""
    migratable: bool | None = None
    iommu: str = ""
    pml: bool | None = None
    viommu: bool | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    may_change: tuple[str, ...] = ("guest-config", "host-config")
    # the load
    link_bps: int | None = None
    frame_bytes: int | None = None
    capture: str = ""
    rate_bps: int | None = None
    send_share: float | None = None
    memory_bytes: int | None = None
    dirty_pages_per_s: int | None = None
    downtime_limit_ns: int | None = None

    def to_json(self) -> dict[str, Any]:
        """What is known, by name; the card by its own."""
        document = {
            key: value
            for key, value in vars(self).items()
            if value not in (None, "", ()) and key not in ("card", "options")
        }
        if self.card is not None:
            document["card"] = self.card.name
        if self.options:
            document["options"] = dict(self.options)
        return document


def checked(facts: Facts) -> Facts:
    """The facts with their card found; UserError for a version, a word or an option that won't do."""
    for name in ("firmware", "kernel", "guest_kernel", "qemu", "libvirt"):
        given = getattr(facts, name)
        if given:
            _version_of(name, given)
    _one_of("--iommu", facts.iommu, IOMMUS)
    _one_of("--bound", facts.bound, DRIVERS)
    for word in facts.may_change:
        _one_of("--may-change", word, CHANGES)
    for name, value in facts.options.items():
        if not name.startswith("CONFIG_") or value not in ("y", "m", "n"):
            raise UserError(f"--kernel-option {name}={value}: give CONFIG_NAME=y, m or n")
    if facts.capture and facts.frame_bytes is not None:
        raise UserError("--capture and --frame: a capture has frames of its own; give one of the two")
    if facts.card is None and facts.card_text:
        return dataclasses.replace(facts, card=find_card(facts.card_text))
    return facts


def over(given: Facts, found: Facts) -> Facts:
    """What was given, and for what was not, what was found on the machine."""
    bare = Facts()
    missing = {
        each.name: getattr(found, each.name)
        for each in dataclasses.fields(Facts)
        if getattr(given, each.name) == getattr(bare, each.name)
    }
    if given.card_text or given.card:
        missing.pop("card", None)
    return dataclasses.replace(given, **missing)


def _version_of(name: str, given: str) -> None:
    try:
        version(given)
    except UserError as error:
        raise UserError(f"--{name.replace('_', '-')}: {error}") from None


def _one_of(option: str, given: str, words: tuple[str, ...]) -> None:
    if given and given not in words:
        raise UserError(f"{option} {given!r}: give one of {', '.join(words)}")
