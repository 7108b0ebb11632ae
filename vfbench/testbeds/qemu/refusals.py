"""What a stock Linux guest on a stock QEMU can't honour, said before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.parameters import changed
from vfbench.strategy import linux_guest, recorded_traits
from vfbench.testbeds.channels import channel_refusals
from vfbench.testbeds.offloads import offload_refusals
from vfbench.testbeds.qemu.kernels_own import contradictions

if TYPE_CHECKING:
    from vfbench.experiment import Experiment

MOST_QUEUES = 2
_THE_DRIVERS_OWN = "is the guest kernel's own driver's to decide"
_FIXED = {
    "driver": dict.fromkeys(
        ("refill-batch", "poll-budget", "page-order", "page-reuse", "rx-ring", "tx-ring"), _THE_DRIVERS_OWN
    ),
    "device": {"interrupt-interval": "is what the guest's driver writes into VTEITR"},
}


def refusals(experiment: Experiment) -> list[str]:
    """One line for each parameter that this testbed can't honour, naming the value."""
    refused = [*linux_guest(experiment.strategy).refusals, *contradictions(experiment)]
    if experiment.guest.queues > MOST_QUEUES:
        refused.append(
            f"guest.queues: {experiment.guest.queues}, but ixgbevf takes at most {MOST_QUEUES} queue pairs of its VF"
        )
    for group, fixed in _FIXED.items():
        given = changed(getattr(experiment, group))
        refused += [
            f"{group}.{name}: {given[name]!r}, but that {why}" for name, why in fixed.items() if name in given
        ]
    if experiment.guest.host_pages != "2MiB":
        refused.append(
            f"guest.host-pages: {experiment.guest.host_pages!r}, but no physical IOMMU is behind the suite's VF"
        )
    refused += offload_refusals(experiment, "that is for the guest's own kernel and program to decide")
    refused += channel_refusals(experiment, (), "")
    if recorded_traits(experiment.strategy).get("stop_order") == "undrained":
        refused.append(
            "stop-order: 'undrained', but a stock driver can't be kept from taking what its device has done"
        )
    way = linux_guest(experiment.strategy)
    if way.guest_iommu and way.primary not in ("", "vf"):
        refused.append("virtio-net behind the guest's IOMMU: the suite's vhost back end has no IOTLB")
    if experiment.qemu.xdp_control and linux_guest(experiment.strategy).xdp:
        refused.append("qemu.xdp-control: true, but the strategy has an XDP program of its own")
    refused += [
        f"kvm.{name}: {value!r}, but this testbed has neither that clock nor a port"
        for name, value in changed(experiment.kvm).items()
    ]
    return refused
