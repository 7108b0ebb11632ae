"""The strategies, one file each; other packages add theirs as ``vfbench.strategies`` entry points."""

from strategies.all_pinned_dirty import AllPinnedDirty
from strategies.bounce_buffers import BounceBuffers
from strategies.cooperative_iommu import CooperativeIommu
from strategies.device_dirty_log import DeviceDirtyLog
from strategies.dma_api_marking import DmaApiMarking
from strategies.dummy_write import DummyWrite
from strategies.emulated_iommu import EmulatedIommu
from strategies.fenced_dummy_write import FencedDummyWrite
from strategies.hybrid import Hybrid
from strategies.iommu_dirty_bits import IommuDirtyBits
from strategies.post_copy import PostCopy
from strategies.ring_inspection import RingInspection
from strategies.shadow_virtqueue import ShadowVirtqueue
from strategies.standby_failover import StandbyFailover
from strategies.untracked import Untracked
from strategies.vfio_migration import VfioMigration
from strategies.virtio_net import VirtioNet

ALL_STRATEGIES = (
    Untracked,
    DummyWrite,
    EmulatedIommu,
    VirtioNet,
    StandbyFailover,
    ShadowVirtqueue,
    VfioMigration,
    DeviceDirtyLog,
    IommuDirtyBits,
    AllPinnedDirty,
    DmaApiMarking,
    BounceBuffers,
    CooperativeIommu,
    RingInspection,
    PostCopy,
    FencedDummyWrite,
    Hybrid,
)
