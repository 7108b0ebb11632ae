"""The strategies of the argument, one file each. Somebody else's come through the entry points ``vfbench.strategies``."""

from strategies.dummy_write import DummyWrite
from strategies.emulated_iommu import EmulatedIommu
from strategies.untracked import Untracked
from strategies.virtio_net import VirtioNet

ALL_STRATEGIES = (Untracked, DummyWrite, EmulatedIommu, VirtioNet)
