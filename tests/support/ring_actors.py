"""The actors of one queue, one turn at a time. In a folder of its own: any change beside it compiles it anew."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import sleep_until
from vfbench.machine.driver.application import consume_due
from vfbench.machine.driver.poll import advance_device, receive_next
from vfbench.machine.driver.vf_receive import refill
from vfbench.machine.driver.virtio_receive import virtio_refill
from vfbench.machine.queue_pair import PATH_VF

DEVICE, DRIVER, REFILL, APPLICATION = range(4)


@kernel
def act(cpu: Any, pair: Any, application: Any, who: int, now_ps: int) -> int:
    """Whose turn it is does one thing, or, if it is the device, all that it can do up to ``now_ps``."""
    if who == DEVICE:
        advance_device(cpu, pair, now_ps, False)
        return 0
    sleep_until(cpu, now_ps)
    if who == DRIVER:
        return receive_next(cpu, pair, application)
    if who == APPLICATION:
        consume_due(cpu, pair)
    elif pair.path == PATH_VF:
        refill(cpu, pair)
    else:
        virtio_refill(cpu, pair)
    return 0
