"""How a stock Linux guest on a stock QEMU gets a mechanism: what a testbed with a real driver has to set up for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

DEVICE_LOGS = ("", "unmap", "dma")
"""Who marks what the device wrote, beside the CPU's own log: nobody; the hypervisor, for each page whose mapping ends
and at the stop for those still mapped; the device, for each page that it writes."""
XDP_PROGRAMS = ("", "read", "write")
"""What a native XDP program does to the first byte of each packet: there is none, it reads it (a control), or it
writes it back."""
PRIMARIES = ("vf", "virtio-net", "vf-with-standby")
"""The guest's network device: the VF, virtio-net, or a VF with virtio-net as its standby (net_failover)."""


@dataclass(frozen=True)
class LinuxGuest:
    """What one mechanism asks of a stock guest and its hypervisor.

    ``native_hotplug``: the VF is unplugged by native PCIe hot-plug, not by ACPI. At the stop, ``copies_rings``: the
    pages of the VF's rings are sent; ``copies_written``: and every page that the VF has written, which with a bounce
    pool are the pool's. ``refusals``: one line for each thing asked of it that such a guest cannot have, with the
    reason.
    """

    kernel_arguments: tuple[str, ...] = ()
    guest_iommu: bool = False
    xdp: str = ""
    device_log: str = ""
    primary: str = ""
    native_hotplug: bool = False
    copies_rings: bool = False
    copies_written: bool = False
    refusals: tuple[str, ...] = ()


def merged(ways: Iterable[LinuxGuest]) -> LinuxGuest:
    """What all of a strategy's mechanisms ask for together; the farthest-reaching of each choice."""
    found = list(ways)

    def most(choices: tuple[str, ...], name: str) -> str:
        return max(
            (getattr(each, name) or choices[0] for each in found), key=choices.index, default=choices[0]
        )

    return LinuxGuest(
        kernel_arguments=tuple(dict.fromkeys(word for each in found for word in each.kernel_arguments)),
        guest_iommu=any(each.guest_iommu for each in found),
        xdp=most(XDP_PROGRAMS, "xdp"),
        device_log=most(DEVICE_LOGS, "device_log"),
        primary=most(PRIMARIES, "primary"),
        native_hotplug=any(each.native_hotplug for each in found),
        copies_rings=any(each.copies_rings for each in found),
        copies_written=any(each.copies_written for each in found),
        refusals=tuple(line for each in found for line in each.refusals),
    )
