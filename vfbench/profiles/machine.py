"""What the machine of a profile has: hardware, kernel and hypervisor of one year, each fact with its source.

A mechanism names what it needs of a machine by the names here. `Profile.offers` says what there is: a number or a
text where one is meant, True, False, or `hypothetical` for what that year's hardware lacks and a run may still ask
for, marked as such. Code that reads `offers` never meets a name that is not in `CAPABILITIES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

HYPOTHETICAL: Final = "hypothetical"

Kind = Literal["flag", "count", "bytes", "text"]
Offer = bool | int | str
"""A capability's value: True, False or `hypothetical` for a flag, a whole number, or a text."""
Need = str | tuple[str, int]
"""A flag that must be offered, or a count or size with the least that will do."""


@dataclass(frozen=True)
class Capability:
    """Something that a machine may have; `what` completes the sentence 'this machine has no ...'."""

    kind: Kind
    what: str


CAPABILITIES: Final[Mapping[str, Capability]] = MappingProxyType(
    {
        "year": Capability("count", "year in which kernel, hypervisor and card are current"),
        "kernel": Capability("text", "Linux of guest and host"),
        "qemu": Capability("text", "QEMU"),
        "card": Capability("text", "network card"),
        "link_gbps": Capability("count", "port of that speed, in Gb/s"),
        "queues_per_vf": Capability("count", "queue pairs in a VF"),
        "vfs_per_guest": Capability("count", "VFs of one card in a guest that migrates"),
        # the processor and its IOMMU
        "posted_interrupts": Capability("flag", "interrupts that the IOMMU posts to a running vCPU"),
        "pml": Capability("flag", "page modification log in the processor (PML)"),
        "nested_translation": Capability(
            "flag", "IOMMU that walks the guest's tables and the host's (nested)"
        ),
        "iommu_dirty_bits": Capability("flag", "dirty bits in the IOMMU's tables"),
        "manual_dirty_log": Capability("flag", "dirty log that is cleared in chunks (KVM_CLEAR_DIRTY_LOG)"),
        # the card
        "segmentation": Capability("flag", "segmentation of 64 KiB sends in the card"),
        "device_dirty_log": Capability("flag", "log in the device of the pages that it wrote"),
        "device_page_faults": Capability(
            "flag", "device that waits for an absent page (PRI, on-demand paging)"
        ),
        "readable_rings": Capability("flag", "VF whose rings the host can find and read"),
        "register_state": Capability("flag", "VF whose state is registers that can be read and written back"),
        "vf_state": Capability("flag", "variant driver that saves and loads the VF's state"),
        "vf_state_bytes": Capability("bytes", "state of a VF"),
        "vf_state_precopy": Capability("flag", "VF state that can be sent while the VF runs (PRE_COPY)"),
        "p2p": Capability("flag", "state in which a VF takes DMA of its peers and starts none (P2P)"),
        "vdpa": Capability("flag", "vDPA device that can be suspended"),
        # the hypervisor
        "multifd": Capability("flag", "migration over several channels (multifd)"),
        "parallel_load": Capability("flag", "hypervisor that loads device states in parallel (multifd)"),
        "post_copy": Capability("flag", "post-copy migration"),
        "post_copy_vf": Capability("flag", "post-copy of a guest with an assigned VF"),
        "post_copy_preempt": Capability("flag", "post-copy with a channel for urgent pages"),
        "failover": Capability("flag", "guest that fails over from a VF to virtio-net by itself"),
    }
)
"""Every capability, in reading order. A strategy in software alone (a driver's change, a pool, a table) needs none."""


@dataclass(frozen=True)
class Feature:
    """One fact of a machine; `sure` and `source` are as a cost's."""

    has: Offer
    sure: str
    source: str

    def to_json(self) -> dict[str, Any]:
        """Every field, under its own name."""
        return asdict(self)


def refusals(name: str, machine: Mapping[str, Feature], needs: Iterable[Need]) -> tuple[str, ...]:
    """Why the machine of the profile `name` can't have these, a sentence each; empty where it can.

    Raises KeyError for a need that is no capability: a strategy's mistake, not a user's.
    """
    found = []
    for need in needs:
        capability, least = need if isinstance(need, tuple) else (need, 1)
        what, feature = CAPABILITIES[capability], machine.get(capability)
        if feature is None:
            found.append(f"the profile {name} does not say whether there is a {what.what}")
        elif what.kind != "flag" and isinstance(feature.has, int) and feature.has < least:
            found.append(f"{name} has {feature.has} {what.what}, not {least}: {feature.source}")
        elif feature.has is False:
            found.append(f"{name} has no {what.what}: {feature.source}")
    return tuple(found)


def hypothetical(machine: Mapping[str, Feature], needs: Iterable[Need]) -> tuple[str, ...]:
    """Which of these that year's hardware lacks, so that a run which uses them is marked, in the order asked."""
    names = (need if isinstance(need, str) else need[0] for need in needs)
    return tuple(name for name in names if name in machine and machine[name].has == HYPOTHETICAL)
