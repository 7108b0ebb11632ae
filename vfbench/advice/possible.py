"""What a host can do with its card at all, capability by capability, why not, and what would help.

Each finding answers for one capability of `vfbench.profiles.machine`. The rules are those that kernel, firmware, QEMU
and libvirt apply, in the order in which an operator meets them; versions stand in `cards.toml`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from vfbench.advice.cards import Card, older, table
from vfbench.advice.facts import Facts
from vfbench.profiles import Profile
from vfbench.profiles.machine import CAPABILITIES

MESSAGE: Final = "migration is not supported in kernel"
"""QEMU's words for a VF whose driver on the host offers no migration."""


@dataclass(frozen=True)
class Hindrance:
    """One reason why something can't be had; `remedy` is empty where nothing short of another card helps."""

    reason: str
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """Whether there is such a capability: `has` as a profile offers it, why not, and what was assumed."""

    capability: str
    has: bool | int | str
    hindrances: tuple[Hindrance, ...] = ()
    assumed: tuple[str, ...] = ()

    @property
    def can_be_had(self) -> bool:
        """Whether it is there, or every hindrance has a remedy."""
        return self.has is not False or (
            self.hindrances != () and all(each.remedy for each in self.hindrances)
        )

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "capability": self.capability,
            "what": CAPABILITIES[self.capability].what,
            "has": self.has,
            "hindrances": [{"reason": each.reason, "remedy": each.remedy} for each in self.hindrances],
            "assumed": list(self.assumed),
        }


def findings(facts: Facts, profile: Profile) -> dict[str, Finding]:
    """A finding for every capability; what no fact decides is as the profile's machine has it."""
    return {name: _finding(name, facts, profile) for name in CAPABILITIES}


def _finding(name: str, facts: Facts, profile: Profile) -> Finding:
    rule = _RULES.get(name)
    assumed = tuple(_assumptions(name, facts))
    if rule is None and name not in table().software:
        return _as_the_profile(name, facts, profile)
    hindrances = (*(rule(facts) if rule else ()), *_of_software(name, facts))
    has: bool | int | str = not hindrances
    if has and profile.offers.get(name) == "hypothetical" and not (rule or _decided(name, facts)):
        has = "hypothetical"
    return Finding(name, has, tuple(hindrances), assumed)


def _as_the_profile(name: str, facts: Facts, profile: Profile) -> Finding:
    if name == "pml" and facts.pml is not None:
        return Finding(
            name, facts.pml, () if facts.pml else (Hindrance("the processor or kvm_intel has PML off"),)
        )
    if name == "vf_state_bytes" and facts.card is not None:
        return Finding(name, facts.card.state_bytes)
    has = profile.offers.get(name, False)
    reason = (Hindrance(f"as on {profile.name}: {profile.machine[name].source}"),) if has is False else ()
    return Finding(name, has, reason, (f"{name} as on the profile {profile.name}",))


def _of_variant(facts: Facts) -> Iterator[Hindrance]:
    """What keeps a VF from migrating by a variant driver: none, not built, not bound, or one of its versions."""
    card = facts.card
    if card is None:
        yield Hindrance(
            "no card was named, so no driver can be looked up", "give --card, or --here on the host"
        )
        return
    if card.variant is None:
        yield Hindrance(
            f"no vfio-pci variant driver exists for {card.name}; QEMU says of it {MESSAGE!r}: {card.source}"
        )
        return
    yield from _of_driver(card, facts)
    yield from _of_versions(card, facts)
    if facts.migratable is False:
        yield Hindrance(
            "the VF is not marked migratable in its PF",
            "devlink port function set <port> migratable enable, before the driver is bound",
        )
    if facts.vfs > card.vfs_at_once > 0:
        yield Hindrance(
            f"{facts.vfs} VFs are to migrate at once, and at most {card.vfs_at_once} of a PF of {card.name} can",
            f"give the guest {card.vfs_at_once} VFs of this PF at most",
        )


def _of_driver(card: Card, facts: Facts) -> Iterator[Hindrance]:
    variant = card.variant
    assert variant is not None  # noqa: S101  its caller has seen to it
    if facts.kernel and older(facts.kernel, variant.kernel):
        yield Hindrance(
            f"the host's Linux {facts.kernel} is older than {variant.kernel}, the first in which {variant.module} "
            f"migrates {card.name}",
            f"Linux {variant.kernel} or newer on both hosts",
        )
    if facts.options.get(variant.option, "m") == "n":
        yield Hindrance(
            f"the host's kernel is built without {variant.option}, so a VF gets plain vfio-pci, of which QEMU says "
            f"{MESSAGE!r}",
            f"a kernel with {variant.option}=m (Debian's 7.3 ships vfio-pci only)",
        )
    elif facts.bound in ("vfio-pci", "other"):
        yield Hindrance(
            f"the VF is bound to {facts.bound if facts.bound == 'vfio-pci' else 'another driver'}, not to "
            f"{variant.module}; QEMU says {MESSAGE!r}",
            f"modprobe {variant.module.replace('_', '-')} and bind the VF to it (libvirt: <driver model="
            f"'{variant.module}'/>)",
        )


def _of_versions(card: Card, facts: Facts) -> Iterator[Hindrance]:
    for what, have, wanted in (
        ("firmware", facts.firmware, card.firmware),
        ("QEMU", facts.qemu, card.qemu),
        ("libvirt", facts.libvirt, card.libvirt),
    ):
        if have and wanted and older(have, wanted):
            yield Hindrance(
                f"{what} {have} is older than {wanted}, the least that migrates a VF of {card.name}",
                f"{what} {wanted} or newer on both hosts",
            )


def _of_log(facts: Facts) -> Iterator[Hindrance]:
    yield from _of_variant(facts)
    if facts.card is not None and facts.card.variant is not None and not facts.card.dirty_log:
        yield Hindrance(f"{facts.card.name} and its driver keep no log of the pages that the VF wrote")
    if facts.viommu:
        yield Hindrance(
            "the guest has a virtual IOMMU: mappings made after logging began are not logged, so QEMU refuses",
            "take the virtual IOMMU away from the VF (iommu_platform, or bypass_iommu on its bus)",
        )


def _of_flag(flag: str, lacks: str) -> Callable[[Facts], Iterator[Hindrance]]:
    def rule(facts: Facts) -> Iterator[Hindrance]:
        yield from _of_variant(facts)
        if facts.card is not None and facts.card.variant is not None and not getattr(facts.card, flag):
            yield Hindrance(f"{facts.card.name} and its driver {lacks}")

    return rule


def _of_vdpa(facts: Facts) -> Iterator[Hindrance]:
    if facts.card is None:
        yield Hindrance(
            "no card was named, so no vDPA driver can be looked up", "give --card, or --here on the host"
        )
    elif not facts.card.vdpa:
        yield Hindrance(f"{facts.card.name} has no vDPA driver that can be suspended")


def _of_software(name: str, facts: Facts) -> Iterator[Hindrance]:
    asked = table().software.get(name)
    if asked is None:
        return
    guest = name in _OF_THE_GUEST
    kernel, where = (facts.guest_kernel, "in the guest") if guest else (facts.kernel, "on both hosts")
    for what, have, wanted, place in (
        ("Linux", kernel, asked.kernel, where),
        ("QEMU", facts.qemu, asked.qemu, "on both hosts"),
    ):
        if have and wanted and older(have, wanted):
            yield Hindrance(f"{what} {have} is older than {wanted}", f"{what} {wanted} or newer {place}")
    if asked.iommu and facts.iommu and facts.iommu not in asked.iommu:
        yield Hindrance(f"the host's IOMMU is {facts.iommu}, and it takes {' or '.join(asked.iommu)}")


def _decided(name: str, facts: Facts) -> bool:
    """Whether facts, and not the profile alone, say that it is there."""
    asked = table().software.get(name)
    return (
        asked is not None and bool(facts.kernel or not asked.kernel) and bool(facts.iommu or not asked.iommu)
    )


def _assumptions(name: str, facts: Facts) -> Iterator[str]:
    """What was not said and would decide."""
    yield from _of_the_software(name, facts)
    if name == "post_copy":
        yield "no VF is assigned by then: QEMU refuses post-copy with VFIO"
    if name in _VARIANT and facts.card is not None and facts.card.variant is not None:
        yield from _of_the_card(facts.card, facts)
        if name == "device_dirty_log" and facts.viommu is None:
            yield "no virtual IOMMU in the guest"


def _of_the_software(name: str, facts: Facts) -> Iterator[str]:
    asked = table().software.get(name)
    if asked is None:
        return
    kernel, where = (facts.guest_kernel, " in the guest") if name in _OF_THE_GUEST else (facts.kernel, "")
    if asked.kernel and not kernel:
        yield f"Linux {asked.kernel} or newer{where}"
    if asked.qemu and not facts.qemu:
        yield f"QEMU {asked.qemu} or newer"
    if asked.iommu and not facts.iommu:
        yield f"an IOMMU of kind {' or '.join(asked.iommu)}"


def _of_the_card(card: Card, facts: Facts) -> Iterator[str]:
    if card.variant is not None and not facts.kernel:
        yield f"Linux {card.variant.kernel} or newer, with {card.variant.option}"
    for what, have, wanted in (("firmware", facts.firmware, card.firmware), ("QEMU", facts.qemu, card.qemu)):
        if wanted and not have:
            yield f"{what} {wanted} or newer"


_OF_THE_GUEST: Final = ("failover",)
"""Capabilities whose kernel is the guest's."""
_VARIANT: Final = ("vf_state", "vf_state_precopy", "p2p", "device_dirty_log")
_RULES: Final[dict[str, Callable[[Facts], Iterator[Hindrance]]]] = {
    "vf_state": _of_variant,
    "vf_state_precopy": _of_flag("pre_copy", "give out no state while the VF runs"),
    "p2p": _of_flag("p2p", "have no P2P state"),
    "device_dirty_log": _of_log,
    "parallel_load": _of_variant,
    "vdpa": _of_vdpa,
}
