"""What a driver that was notified of a migration does last."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.driver.vf_transmit import clean_transmitted
from vfbench.machine.hooks import run_hooks
from vfbench.machine.queue_pair import PATH_VF
from vfbench.machine.slots import QUIESCE


@kernel
def quiesce(cpu: Any, pair: Any) -> None:
    """Reclaim completed TX descriptors and let each mechanism come to rest."""
    if pair.path == PATH_VF:
        clean_transmitted(cpu)
    run_hooks(cpu, QUIESCE)
