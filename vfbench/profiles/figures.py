"""Which figures a profile must hold, of which dimension each is, and which belong to some machines only.

Order is reading order: the clock, the guest's stack, dummy writes, interrupts, exits, registers, the dirty
log, the IOMMU, the device, vhost, the VF's state, the migration; then offloads, the host's sending side, an idle
vCPU, what is shared, the log's start and the destination, and what single strategies cost.
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
    ("page_table_map_next", "time"),
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
    # offloads: packets that are joined and cut
    ("gro_merge", "time"),
    ("tx_fragment", "time"),
    ("vhost_buffer", "time"),
    ("host_segment", "time"),
    # the host's sending side
    ("vhost_send", "time"),
    ("host_nic_send", "time"),
    # an idle vCPU, and interrupts that adapt
    ("vcpu_halt", "time"),
    ("vcpu_wake", "time"),
    ("halt_poll", "time"),
    ("halt_poll_start", "time"),
    ("moderation_lowest", "time"),
    ("moderation_low", "time"),
    ("moderation_bulk", "time"),
    ("moderation_low_from", "rate"),
    ("moderation_bulk_from", "rate"),
    # what is shared, and its locks
    ("exit_user_space_locked", "time"),
    ("invalidation_locked", "time"),
    ("dma_requests", "count"),
    # the start of the dirty log, and what the destination does
    ("log_start_per_gib", "time"),
    ("log_split_per_gib", "time"),
    ("log_clear_call", "time"),
    ("log_clear_chunk", "bytes"),
    ("destination_load_rate", "rate"),
    ("zero_page_scan_rate", "rate"),
    ("memory_pin_per_gib", "time"),
    ("remap_page", "time"),
    ("emulator_stop", "time"),
    ("emulator_start", "time"),
    # strategies in software: pools, tables and rings that the host reads
    ("swiotlb_slot", "time"),
    ("swiotlb_slot_locked", "time"),
    ("swiotlb_lock_transfer", "time"),
    ("swiotlb_areas", "count"),
    ("swiotlb_pool", "bytes"),
    ("swiotlb_slot_bytes", "bytes"),
    ("swiotlb_map_most", "bytes"),
    ("shared_table_store", "time"),
    ("ring_pass", "time"),
    ("ring_inspect_descriptor", "time"),
    # failover to a standby
    ("unplug_poll", "time"),
    ("unplug_cancel", "time"),
    ("unplug_acpi", "time"),
    ("unplug_native", "time"),
    ("link_watch", "time"),
    # post-copy
    ("post_copy_fault", "time"),
    ("post_copy_queue", "bytes"),
    # a log in the device
    ("device_log_entry", "time"),
    ("device_log_ring", "count"),
    ("device_log_message", "count"),
    ("device_log_ranges", "count"),
    ("device_log_span", "bytes"),
    ("device_log_query", "time"),
    ("device_log_read", "time"),
    ("device_log_start", "time"),
    # dirty bits in the IOMMU
    ("iommu_dirty_walk_per_gib", "time"),
    ("iommu_dirty_walk_large_per_gib", "time"),
    ("iommu_dirty_page", "time"),
    ("iommu_dirty_flush", "time"),
    # faults of the device
    ("device_page_fault", "time"),
    # a VF's state that its variant driver moves
    ("vf_state_save_rate", "rate"),
    ("vf_state_load_rate", "rate"),
    ("vf_state_initial", "bytes"),
    ("vf_stop", "time"),
    ("vf_start", "time"),
    # vDPA with shadow virtqueues
    ("svq_suspend_pair", "time"),
    ("svq_resume_pair", "time"),
    ("svq_create_pair", "time"),
    ("svq_relay", "time"),
    ("svq_relay_kick", "time"),
    # a migration over several channels
    ("multifd_send_rate", "rate"),
    ("multifd_queue_page", "time"),
)

CAPABILITY_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        "log_clear_call": "manual_dirty_log",
        "log_clear_chunk": "manual_dirty_log",
        "post_copy_fault": "post_copy",
        "post_copy_queue": "post_copy",
        "device_log_entry": "device_dirty_log",
        "device_log_ring": "device_dirty_log",
        "device_log_message": "device_dirty_log",
        "device_log_ranges": "device_dirty_log",
        "device_log_span": "device_dirty_log",
        "device_log_query": "device_dirty_log",
        "device_log_read": "device_dirty_log",
        "device_log_start": "device_dirty_log",
        "iommu_dirty_walk_per_gib": "iommu_dirty_bits",
        "iommu_dirty_walk_large_per_gib": "iommu_dirty_bits",
        "iommu_dirty_page": "iommu_dirty_bits",
        "iommu_dirty_flush": "iommu_dirty_bits",
        "device_page_fault": "device_page_faults",
        "vf_state_save_rate": "vf_state",
        "vf_state_load_rate": "vf_state",
        "vf_state_initial": "vf_state_precopy",
        "vf_stop": "vf_state",
        "vf_start": "vf_state",
        "svq_suspend_pair": "vdpa",
        "svq_resume_pair": "vdpa",
        "svq_create_pair": "vdpa",
        "svq_relay": "vdpa",
        "svq_relay_kick": "vdpa",
        "multifd_send_rate": "multifd",
        "multifd_queue_page": "multifd",
    }
)
"""Costs that only a machine with this capability has: stated where it is offered, and nowhere else."""

DIMENSIONS: Final[Mapping[str, Dimension]] = MappingProxyType(dict(FIGURES))
"""Every cost, in reading order."""
REQUIRED: Final[Mapping[str, Dimension]] = MappingProxyType(
    {name: dimension for name, dimension in FIGURES if name not in CAPABILITY_OF}
)
"""The costs that every machine has."""
