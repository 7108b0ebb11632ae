"""What the application does with a packet that it was handed: perhaps it sends an answer."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import call_hook, kernel
from vfbench.machine.driver.vf_transmit import send_one
from vfbench.machine.driver.virtio_transmit import virtio_send_one
from vfbench.machine.port import MOST_DESCRIPTORS, PATH_VF


@kernel
def answer(cpu: Any, port: Any, application: Any, slot: int, length_bytes: int) -> None:
    """Run the workload's ``delivered`` on the packet of ``slot`` and send the answer that it asks for."""
    received = port.slot[slot & (MOST_DESCRIPTORS - 1)]
    answer_bytes = call_hook(cpu.hook_delivered, cpu, application, length_bytes, received.tag)
    if answer_bytes == 0:
        return
    if port.path == PATH_VF:
        send_one(cpu, port, answer_bytes, received.flow)
    else:
        virtio_send_one(cpu, port, answer_bytes, received.flow)
