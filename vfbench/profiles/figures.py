"""Which figures a profile must hold, of which dimension each is, and which belong to some machines only.

Order is reading order: the clock, the guest's stack, dummy writes, interrupts, exits, registers, the dirty
log, the IOMMU, the device, vhost, the VF's state, the migration.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Dimension = Literal["time", "rate", "count", "bytes", "frequency"]

UNITS: Final[Mapping[Dimension, tuple[str, ...]]] = MappingProxyType(
    {
        "time": ("cycles", "ns", "us", "ms"),
        "rate": ("bytes_per_cycle", "bytes_per_us"),
        "count": ("count",),
        "bytes": ("bytes",),
        "frequency": ("GHz",),
    }
)

FIGURES: Final[tuple[tuple[str, Dimension], ...]] = (
    ("cpu_frequency", "frequency"),
    # the guest's driver and network stack
    ("rx_packet", "time"),
    ("tx_packet", "time"),
    ("poll_start", "time"),
    ("page_alloc", "time"),
    ("page_free", "time"),
    ("skb_copy_fixed", "time"),
    ("copy_rate", "rate"),
    ("descriptor_read", "time"),
    ("rx_release", "time"),
    ("app_packet", "time"),
    # dummy writes
    ("touch_cached", "time"),
    ("touch_uncached", "time"),
    ("touch_atomic_extra", "time"),
    # interrupts
    ("interrupt_injection", "time"),
    ("interrupt_entry_host", "time"),
    # exits to the hypervisor
    ("exit_user_space", "time"),
    ("exit_kernel", "time"),
    ("exit_hypercall", "time"),
    ("exit_other_core_guest", "time"),
    ("ioeventfd_kick", "time"),
    # registers of an assigned device
    ("doorbell_write", "time"),
    ("mmio_read", "time"),
    ("mmio_write", "time"),
    # the dirty log
    ("write_fault", "time"),
    ("pml_store", "time"),
    ("log_sync_per_page", "time"),
    ("log_sync_per_gib", "time"),
    # the IOMMU, guest side
    ("iova_alloc", "time"),
    ("iova_alloc_deferred", "time"),
    ("iova_free", "time"),
    ("page_table_map", "time"),
    ("page_table_unmap", "time"),
    ("iotlb_invalidate", "time"),
    ("deferred_queue", "time"),
    # the IOMMU, host side
    ("iommu_shadow_map", "time"),
    ("iommu_shadow_unmap", "time"),
    ("iommu_table_walk_entry", "time"),
    # the device
    ("dma_rate", "rate"),
    ("dma_packet", "time"),
    ("dma_latency", "time"),
    ("iotlb_entries", "count"),
    ("iotlb_miss", "time"),
    ("fifo", "bytes"),
    ("descriptor_write_back_timeout", "time"),
    # vhost
    ("vhost_packet", "time"),
    ("vhost_copy_rate", "rate"),
    ("vhost_log_page", "time"),
    ("vhost_wakeup", "time"),
    ("host_nic_packet", "time"),
    ("virtio_queue_packet", "time"),
    ("host_nic_ring", "count"),
    ("tap_queue", "count"),
    # the VF's state
    ("mailbox_round_trip", "time"),
    ("config_space_access", "time"),
    ("pf_state_read", "time"),
    ("msix_entry", "time"),
    ("vf_hot_unplug", "time"),
    ("vf_hot_plug", "time"),
    ("device_stop", "time"),
    ("guest_pause", "time"),
    ("guest_resume", "time"),
    ("bond_failover", "time"),
    # the migration
    ("page_header", "bytes"),
    ("announce_first", "time"),
    ("switch_learn", "time"),
)

CAPABILITY_OF: Final[Mapping[str, str]] = MappingProxyType({})
"""Costs that only a machine with this capability has: stated where it is offered, and nowhere else."""

DIMENSIONS: Final[Mapping[str, Dimension]] = MappingProxyType(dict(FIGURES))
"""Every cost, in reading order."""
REQUIRED: Final[Mapping[str, Dimension]] = MappingProxyType(
    {name: dimension for name, dimension in FIGURES if name not in CAPABILITY_OF}
)
"""The costs that every machine has."""
