"""What a mechanism asks of software, beyond what the machine must have: words that mechanisms declare.

A mechanism's `needs` are about the machine. Its `demands` say what an operator must be free to change, and whether a
stock system has it already; the advice holds them against what may be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CHANGES: Final = ("guest-driver", "guest-kernel", "guest-config", "host-kernel", "host-config")
"""What an operator may be free to change: drivers and kernel of the guest, its configuration, the host's likewise."""


@dataclass(frozen=True)
class Demand:
    """One thing to be changed: where (one of CHANGES), what, and whether Linux and QEMU have it as they come."""

    change: str
    what: str
    stock: bool


DEMANDS: Final[Mapping[str, Demand]] = MappingProxyType(
    {
        "guest-driver": Demand("guest-driver", "a changed VF driver in the guest", stock=False),
        "guest-dma-api": Demand("guest-kernel", "a changed DMA API in the guest's kernel", stock=False),
        "guest-swiotlb": Demand("guest-config", "swiotlb=force on the guest's command line", stock=True),
        "guest-shared-table": Demand(
            "guest-kernel", "a guest kernel that publishes its mappings in a shared table", stock=False
        ),
        "guest-iommu": Demand("guest-config", "a virtual IOMMU that the guest uses for the VF", stock=True),
        "guest-virtio": Demand("guest-config", "a virtio-net device in the guest", stock=True),
        "guest-standby": Demand(
            "guest-config", "a virtio-net device with the VF's address as its standby", stock=True
        ),
        "host-driver": Demand(
            "host-kernel", "a changed PF driver, by which the VF's registers move", stock=False
        ),
        "host-kernel": Demand("host-kernel", "a change to KVM or VFIO", stock=False),
        "host-qemu": Demand("host-config", "a change to QEMU", stock=False),
        "host-forced": Demand(
            "host-config", "enable-migration=on, by which QEMU takes a VF that nothing tracks", stock=True
        ),
        "host-core": Demand("host-config", "a core of the host for the time of the migration", stock=True),
    }
)
"""Every demand, by the word that a mechanism uses."""
