"""What the application does with a packet that it was handed: perhaps it sends an answer."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import call_hook, kernel
from vfbench.machine.cpu import load_field
from vfbench.machine.driver.send_memory import mss_bytes
from vfbench.machine.driver.state import TX_SEQUENCE
from vfbench.machine.driver.vf_segmentation import send_large
from vfbench.machine.driver.vf_transmit import send_one
from vfbench.machine.driver.virtio_segmentation import virtio_send_large
from vfbench.machine.driver.virtio_transmit import virtio_send_one
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.oracle.oracle import note_tags
from vfbench.machine.queue_pair import MOST_DESCRIPTORS, PATH_VF
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES


@kernel
def send_spread(cpu: Any, pair: Any, payload_bytes: int, flow: int) -> None:
    """Send what does not lie in one page."""
    if pair.path == PATH_VF:
        send_large(cpu, pair, payload_bytes, flow)
    else:
        virtio_send_large(cpu, pair, payload_bytes, flow)


@kernel
def send_frame(cpu: Any, pair: Any, length_bytes: int, flow: int) -> None:
    """Send one frame: in a page of its own, or, over a page, in headers and fragments."""
    if length_bytes > PAGE_BYTES:
        send_spread(cpu, pair, length_bytes - FRAME_OVERHEAD_BYTES, flow)
    elif pair.path == PATH_VF:
        send_one(cpu, pair, length_bytes, flow)
    else:
        virtio_send_one(cpu, pair, length_bytes, flow)


@kernel
def send_payload(cpu: Any, pair: Any, payload_bytes: int, flow: int) -> None:
    """Send more than a frame holds: as much at a time as the driver takes, or else frame by frame."""
    mss = mss_bytes(cpu)
    most = max(mss, cpu.send_payload_bytes)
    while payload_bytes > 0:
        part = min(most, payload_bytes)
        if part <= mss:
            send_frame(cpu, pair, part + FRAME_OVERHEAD_BYTES, flow)
        else:
            send_spread(cpu, pair, part, flow)
        payload_bytes -= part


@kernel
def send(cpu: Any, pair: Any, length_bytes: int, flow: int) -> None:
    """Send what makes a frame of ``length_bytes``, headers and FCS counted once, or several frames over the MTU."""
    if cpu.cut_over_bytes != 0 and length_bytes > cpu.cut_over_bytes:
        send_payload(cpu, pair, length_bytes - FRAME_OVERHEAD_BYTES, flow)
    else:
        send_frame(cpu, pair, length_bytes, flow)


@kernel
def send_tagged(cpu: Any, pair: Any, application: Any, length_bytes: int) -> None:
    """Send what the application named a flow and tags for; what is refused carries none."""
    first = load_field(cpu, cpu.driver + TX_SEQUENCE)
    send(cpu, pair, length_bytes, application.reply_flow)
    frames = load_field(cpu, cpu.driver + TX_SEQUENCE) - first
    note_tags(pair, first, frames, application.reply_tag, application.reply_last)


@kernel
def reply(cpu: Any, pair: Any, application: Any, slot: int, length_bytes: int) -> None:
    """Run the workload's ``delivered`` on the packet of ``slot`` and send the answer that it asks for."""
    received = pair.oracle.slot[slot & (MOST_DESCRIPTORS - 1)]
    reply_to(cpu, pair, application, length_bytes, received.flow, received.tag)


@kernel
def reply_to(cpu: Any, pair: Any, application: Any, length_bytes: int, flow: int, tag: int) -> None:
    """The same for a packet of ``flow``, or for several that came as one of ``length_bytes``."""
    application.flow = flow
    answer_bytes = call_hook(cpu.hook_delivered, cpu, application, length_bytes, tag)
    if answer_bytes == 0:
        return
    if application.tags:
        send_tagged(cpu, pair, application, answer_bytes)
    else:
        send(cpu, pair, answer_bytes, flow)
