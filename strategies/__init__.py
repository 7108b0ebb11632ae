"""The strategies of the argument, one file each; other packages add theirs as ``vfbench.strategies`` entry points."""

from strategies.dummy_write import DummyWrite
from strategies.emulated_iommu import EmulatedIommu
from strategies.standby_failover import StandbyFailover
from strategies.untracked import Untracked
from strategies.virtio_net import VirtioNet

ALL_STRATEGIES = (Untracked, DummyWrite, EmulatedIommu, VirtioNet, StandbyFailover)
