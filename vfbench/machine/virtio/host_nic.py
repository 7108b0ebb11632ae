"""The host's own NIC, bridge and tap, in front of vhost: the way in by a softirq, the way out by another.

With the host's GRO (``host.gro``) the softirq joins full frames of a flow before the bridge has them, as the guest's
does (``driver/gro.py``): up to 64 KiB of each of eight flows, until its poll is over. A guest with mergeable or big
buffers has what was joined as one packet; for one without, the stack cuts it again in front of the tap
(``validate_xmit_skb``), frame by frame.

Sources: ``dev_gro_receive``, ``skb_segment`` (net/core), ``ixgbe_poll`` (drivers/net/ethernet/intel/ixgbe).
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.costs import DESCRIPTOR_READ, GRO_MERGE, HOST_NIC_PACKET, HOST_NIC_SEND, HOST_SEGMENT
from vfbench.machine.driver.gro import FLOWS, MOST_BYTES, follows
from vfbench.machine.driver.moderation import adapt_host_interval
from vfbench.machine.memory.guest_memory import BLOCKS_SHIFT, SENT
from vfbench.machine.oracle.oracle import note_at_peer
from vfbench.machine.oracle.part_words import part_word
from vfbench.machine.queue_pair import FIFO_FRAMES, INWARD, MOST_JOINED, OUTWARD, WIRE
from vfbench.machine.vf.device import admit
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES, NEVER_PS, TAG_PUSH, WIRE_OVERHEAD_BYTES

# -- in


@kernel
def pass_through_host_nic(cpu: Any, pair: Any) -> None:
    """The next frame on the wire reaches the tap's queue by way of the host's NIC, its interrupt and its softirq.

    The host's driver is throttled as the guest's is, and adapts to the load alike (EITR): a frame that finds the
    softirq asleep waits for the next
    interrupt; while it is awake frames follow one another, one processor's worth of them and no more. What finds
    the NIC's ring full costs nothing; what finds the tap's queue full has cost the softirq's time.
    """
    frame = pair.nic.incoming[pair.nic.incoming_head]
    in_ring = joined_in_ring(pair, frame.arrival_ps)
    if not pair.vhost.host_gro:
        in_ring = max(0, pair.vhost.host_nic_ps - frame.arrival_ps) // max(1, cpu.cost[HOST_NIC_PACKET])
    if in_ring >= pair.vhost.host_ring_frames:
        pair.nic.incoming_head += 1
        pair.oracle.lost_fifo += 1
        return
    if frame.arrival_ps > pair.vhost.host_nic_ps:
        pair.vhost.host_interrupt_ps = max(
            frame.arrival_ps, pair.vhost.host_interrupt_ps + pair.vhost.host_interrupt_interval_ps
        )
        pair.vhost.host_nic_ps = pair.vhost.host_interrupt_ps
        pair.vhost.host_polled = 0
        adapt_host_interval(cpu, pair)
    pair.vhost.host_moderated_bytes[INWARD] += frame.length
    if pair.vhost.host_gro:
        pair.nic.incoming_head += 1
        host_gro_receive(cpu, pair, frame)
        return
    pair.vhost.host_nic_ps += cpu.cost[HOST_NIC_PACKET]
    cpu.host_ps += cpu.cost[HOST_NIC_PACKET]
    frame.ready_ps = pair.vhost.host_nic_ps
    pair.nic.fifo_limit_frames = min(pair.vhost.tap_queue_frames + in_ring, FIFO_FRAMES)
    admit(pair)


@kernel
def spend_receiving(cpu: Any, pair: Any, cost: int) -> None:
    """The softirq that receives is busy."""
    pair.vhost.host_nic_ps += cpu.cost[cost]
    cpu.host_ps += cpu.cost[cost]


@kernel
def host_gro_receive(cpu: Any, pair: Any, frame: Any) -> None:
    """A frame out of the NIC's ring: joined to others of its flow, held for others, or on to the bridge at once.

    Who is joined costs its descriptor's read and the joining; ``host_nic_packet`` is paid once for all.
    """
    began_ps = pair.vhost.host_nic_ps
    pair.vhost.host_polled += 1
    if not pair.enabled or frame.arrival_ps < pair.admits_from_ps:
        pair.oracle.lost_blackout += 1
        return
    i = find_joined(pair, frame.flow)
    if i >= 0 and joins_at_host(pair.vhost.host_joined[i], frame):
        join_at_host(cpu, pair, pair.vhost.host_joined[i], frame)
    else:
        if i >= 0:
            pass_to_tap(cpu, pair, i)
        i = begin_joined(cpu, pair, frame)
    if (
        frame.length < pair.vhost.host_frame_bytes
        or frame.length > pair.vhost.host_most_bytes
        or frame.tag & TAG_PUSH != 0
    ):
        pass_to_tap(cpu, pair, i)
    # What a frame takes here, for how many of them the backlog is.
    pair.vhost.host_frame_ps += (pair.vhost.host_nic_ps - began_ps - pair.vhost.host_frame_ps) >> 6


@kernel
def joined_in_ring(pair: Any, now_ps: int) -> int:
    """Frames in the ring of a NIC whose softirq joins them: those since its interrupt that it has not taken."""
    taken = max(0, now_ps - pair.vhost.host_interrupt_ps) // max(1, pair.vhost.host_frame_ps)
    return max(0, pair.vhost.host_polled - taken) if now_ps < pair.vhost.host_nic_ps else 0


@kernel
def find_joined(pair: Any, flow: int) -> int:
    """Where frames of a flow are held, or -1; of flow -1 where none are."""
    for i in range(FLOWS):
        if pair.vhost.host_joined[i].flow == flow + 1:
            return i
    return -1


@kernel
def joins_at_host(joined: Any, frame: Any) -> bool:
    """Whether a frame follows what is held of its flow, and fits."""
    if not follows(joined.last_tag, frame.tag) or frame.length > joined.first_length:
        return False
    return joined.frames < MOST_JOINED and joined.length + frame.length - FRAME_OVERHEAD_BYTES <= MOST_BYTES


@kernel
def join_at_host(cpu: Any, pair: Any, joined: Any, frame: Any) -> None:
    """Join a frame's payload to what is held."""
    spend_receiving(cpu, pair, DESCRIPTOR_READ)
    spend_receiving(cpu, pair, GRO_MERGE)
    joined.sequence[joined.frames] = frame.sequence
    joined.frames += 1
    joined.length += frame.length - FRAME_OVERHEAD_BYTES
    joined.last_length, joined.last_tag = frame.length, frame.tag


@kernel
def begin_joined(cpu: Any, pair: Any, frame: Any) -> int:
    """Hold the first frame of a flow; returns where. One flow more than are held sends the oldest on."""
    i = find_joined(pair, -1)
    if i < 0:
        i = oldest_joined(pair)
        pass_to_tap(cpu, pair, i)
    joined = pair.vhost.host_joined[i]
    joined.flow, joined.frames = frame.flow + 1, 1
    joined.length = joined.first_length = joined.last_length = frame.length
    joined.first_tag = joined.last_tag = frame.tag
    joined.arrival_ps = frame.arrival_ps
    joined.sequence[0] = frame.sequence
    pair.vhost.host_held += 1
    return i


@kernel
def oldest_joined(pair: Any) -> int:
    """Where the flow is held whose first frame came first."""
    oldest = -1
    for i in range(FLOWS):
        held = pair.vhost.host_joined[i].flow != 0
        if held and (
            oldest < 0 or pair.vhost.host_joined[i].arrival_ps < pair.vhost.host_joined[oldest].arrival_ps
        ):
            oldest = i
    return oldest


@kernel
def pass_to_tap(cpu: Any, pair: Any, i: int) -> None:
    """What is held of a flow passes the bridge, as one or, for a guest that takes frames only, cut again."""
    joined = pair.vhost.host_joined[i]
    spend_receiving(cpu, pair, HOST_NIC_PACKET)
    payload_bytes = joined.first_length - FRAME_OVERHEAD_BYTES if joined.frames > 1 else 0
    if pair.vhost.gathers or joined.frames == 1:
        word = part_word(joined.length, 0, False, payload_bytes)
        queue_at_tap(pair, joined, joined.sequence[0], word, joined.first_tag, joined.frames)
    else:
        for k in range(joined.frames):
            spend_receiving(cpu, pair, HOST_SEGMENT)
            last = k == joined.frames - 1
            length_bytes = joined.last_length if last else joined.first_length
            tag = (
                joined.last_tag
                if last
                else joined.first_tag + (k if joined.first_tag != joined.last_tag else 0)
            )
            queue_at_tap(pair, joined, joined.sequence[k], length_bytes, tag, 1)
    joined.flow = 0
    pair.vhost.host_held -= 1


@kernel
def queue_at_tap(pair: Any, joined: Any, sequence: int, word: int, tag: int, frames: int) -> None:
    """A packet reaches the tap's queue, or finds it full."""
    if pair.nic.fifo_tail - pair.nic.fifo_head >= min(pair.vhost.tap_queue_frames, FIFO_FRAMES):
        pair.oracle.lost_fifo += frames
        return
    packet = pair.nic.fifo[pair.nic.fifo_tail & (FIFO_FRAMES - 1)]
    pair.nic.fifo_tail += 1
    packet.arrival_ps, packet.ready_ps = joined.arrival_ps, pair.vhost.host_nic_ps
    packet.sequence, packet.length, packet.flow, packet.tag = sequence, word, joined.flow - 1, tag


@kernel
def host_poll_ends_ps(pair: Any) -> int:
    """When the softirq's poll is over and what it holds goes on, unless a frame comes before."""
    return pair.vhost.host_nic_ps if pair.vhost.host_held != 0 else NEVER_PS


@kernel
def end_host_poll(cpu: Any, pair: Any) -> None:
    """The softirq found no more: what it holds goes on, the oldest first (``napi_gro_flush``)."""
    while pair.vhost.host_held != 0:
        pass_to_tap(cpu, pair, oldest_joined(pair))


# -- out


@kernel
def put_on_wire(pair: Any, length_bytes: int) -> None:
    """A frame takes the wire as soon as the one before it is through."""
    pair.nic.busy_ps[WIRE] += (length_bytes + WIRE_OVERHEAD_BYTES) * pair.nic.line_ps_per_byte
    pair.nic.tx_free_ps += (length_bytes + WIRE_OVERHEAD_BYTES) * pair.nic.ps_per_byte


@kernel
def spend_sending(cpu: Any, pair: Any, cost: int) -> None:
    """The softirq that sends is busy."""
    pair.vhost.host_send_ps = max(pair.vhost.host_send_ps, pair.vhost.clock_ps) + cpu.cost[cost]
    cpu.host_ps += cpu.cost[cost]


@kernel
def put_on_host_nic(cpu: Any, pair: Any, length_bytes: int) -> None:
    """The host's own card sends the frame: a softirq of one processor, then the wire. The worker goes on meanwhile.

    It waits only once the card's ring is full (``host_backlog_ps``).
    """
    spend_sending(cpu, pair, HOST_NIC_SEND)
    pair.nic.tx_free_ps = max(pair.nic.tx_free_ps, pair.vhost.host_send_ps)
    pair.vhost.host_moderated_bytes[OUTWARD] += length_bytes
    put_on_wire(pair, length_bytes)


@kernel
def put_frames_on_host_nic(cpu: Any, pair: Any, first: int, whole: bool, payload_bytes: int) -> None:
    """One large skb becomes frames: the card cuts it, and the softirq has it once; or, where it does not, the stack.

    Then each frame is cut (``host_segment``) and sent by itself (``skb_segment``, net/core/skbuff.c).
    """
    mss_bytes, frames = cpu.frame_bytes - FRAME_OVERHEAD_BYTES, 0
    in_software = pair.vhost.host_cuts_sends and payload_bytes > mss_bytes
    while payload_bytes > 0:
        length_bytes = min(mss_bytes, payload_bytes) + FRAME_OVERHEAD_BYTES
        if in_software:
            spend_sending(cpu, pair, HOST_SEGMENT)
        if frames == 0 or in_software:
            put_on_host_nic(cpu, pair, length_bytes)
        else:
            pair.vhost.host_moderated_bytes[OUTWARD] += length_bytes
            put_on_wire(pair, length_bytes)
        note_at_peer(
            pair, ((first & (SENT - 1)) >> BLOCKS_SHIFT) + frames, whole, length_bytes, pair.nic.tx_free_ps
        )
        payload_bytes -= mss_bytes
        frames += 1
