"""The host's side of one queue pair: the device, vhost in its place, and what the oracle knows of each packet.

Nothing here lies in guest memory. The device's part is lost when the guest moves; the oracle's part is the test
bench's own, and is how damage is detected: it knows what was sent for every descriptor.
"""

from __future__ import annotations

import numpy as np

from vfbench.machine.driver.state import HELD_PACKETS
from vfbench.machine.sides import MODEL
from vfbench.machine.vf.registers import QUEUE_REGISTERS
from vfbench.machine.wire import BATCH_FRAMES

MOST_DESCRIPTORS = 4096
FIFO_FRAMES = 8192
"""512 KiB of packet buffer hold at most this many frames of 64 bytes."""
INCOMING_FRAMES = 2 * BATCH_FRAMES
IOTLB_SLOTS = 256
REPLIES = 2048
SENT_FRAMES = 1 << 15
"""More than a ring of 4096 descriptors holds in sends that the card cuts: six of them are 45 frames."""

LATENCY_BITS = 7
LATENCY_SUB_BUCKETS = 1 << LATENCY_BITS
LATENCY_BUCKETS = 40 * LATENCY_SUB_BUCKETS

WIRE, DMA = range(2)
"""What the queues of a card share."""
INWARD, OUTWARD = range(2)
"""Directions in which a card's driver counts bytes."""

PATH_VF = 0
PATH_VIRTIO = 1
PATH_VDPA = 2
PATH_RELAY = 3

FRAME = np.dtype(
    [
        ("arrival_ps", "i8"),  # when the last bit was in
        ("ready_ps", "i8"),  # when the device, or vhost, could first see it
        ("sequence", "i8"),
        ("length", "i8"),
        ("flow", "i8"),
        ("tag", "i8"),
    ]
)
"""A frame that has not reached memory yet."""

SLOT = np.dtype(
    [
        ("pending", "i8"),  # frames that ended here, written and not handed over yet
        ("sequence", "i8"),
        ("length", "i8"),  # of a packet in several buffers a word of ``oracle/parts.py``
        ("arrival_ps", "i8"),
        ("flow", "i8"),
        ("tag", "i8"),
    ]
)
"""What was sent for one descriptor."""

HELD = np.dtype(
    [
        ("sequence", "i8"),
        ("length", "i8"),
        ("arrival_ps", "i8"),
        ("flow", "i8"),  # above it, of a packet in several buffers, the frames that ended here
    ]
)
"""What was sent for a packet that the application keeps."""

JOINED_FLOWS, MOST_JOINED = 8, 130
"""64 KiB are 125 frames of an MTU of 576."""

JOINED = np.dtype(
    [
        ("flow", "i8"),  # its number plus one; 0: none
        ("frames", "i8"),
        ("length", "i8"),  # as one packet's
        ("first_length", "i8"),
        ("last_length", "i8"),
        ("first_tag", "i8"),
        ("last_tag", "i8"),
        ("arrival_ps", "i8"),  # of the first frame
        ("sequence", "i8", (MOST_JOINED,)),
    ]
)
"""Frames of a flow that the host's NIC driver has joined and holds."""

MOST_PARTS = 64
"""Buffers of one packet: 64 KiB are 43 of 1536 bytes."""

PART = np.dtype(
    [
        ("sequence", "i8"),
        ("length", "i8"),
        ("arrival_ps", "i8"),
        ("flow", "i8"),
        ("tag", "i8"),
        ("frames", "i8"),
    ]
)
"""What was sent for a part of a packet that the driver has not gathered yet."""

NIC = np.dtype(
    [
        ("register", "i8", (len(QUEUE_REGISTERS),)),
        # frames on their way in
        ("incoming_head", "i8"),
        ("incoming_count", "i8"),
        ("incoming", FRAME, (INCOMING_FRAMES,)),
        ("fifo_head", "i8"),
        ("fifo_tail", "i8"),
        ("fifo_bytes", "i8"),
        ("fifo_limit_bytes", "i8"),
        ("fifo_limit_frames", "i8"),
        ("fifo", FRAME, (FIFO_FRAMES,)),
        # receive
        ("rx_base", "i8"),  # where the registers said that the ring is when the queue was enabled
        ("rx_head", "i8"),
        ("rx_buffer_bytes", "i8"),  # what a descriptor's buffer takes of a frame
        ("rx_taken", "i8"),  # bytes of the FIFO's oldest frame that are in memory, in buffers before its last
        ("rx_free_ps", "i8"),  # the DMA engine is busy until then
        ("rx_ready_ps", "i8"),  # when descriptors became available again
        ("write_back_batch", "i8"),
        ("unwritten", "i8"),  # descriptors used but not written back yet
        ("write_back_due_ps", "i8"),
        # transmit
        ("tx_base", "i8"),
        ("tx_head", "i8"),
        ("tx_free_ps", "i8"),
        ("tx_ready_ps", "i8"),
        # a send that the card cuts into frames
        ("tx_left", "i8"),  # bytes of it not on the wire yet; 0: none is under way
        ("tx_sent", "i8"),  # bytes of it on the wire
        ("tx_frames", "i8"),  # of it, on the wire
        ("tx_mss", "i8"),
        ("tx_first", "i8"),  # the content word of its first block; -1 where the device can't read it
        ("tx_slot", "i8"),  # the descriptor that the next byte is in
        ("tx_taken", "i8"),  # bytes of that descriptor on the wire
        ("ps_per_byte", "i8"),
        ("line_ps_per_byte", "i8"),
        ("busy_ps", "i8", (2,)),  # time of WIRE and DMA taken since the queues' parts were last settled
        ("slowdown_1024", "i8", (2,)),  # how much longer its part of each takes than all of it would
        # address translation
        (
            "host_page_shift",
            "i8",
        ),  # of the physical IOMMU's entries, where the guest sees none; 0: not looked at
        ("iotlb_entries", "i8"),
        ("iotlb_iova", "i8", (IOTLB_SLOTS,)),
        ("iotlb_page", "i8", (IOTLB_SLOTS,)),
    ]
)
"""The device: registers, frames on their way in, DMA engines, IOTLB. vhost takes its frames from the same FIFO."""

VHOST = np.dtype(
    [
        ("host_ring_frames", "i8"),
        ("tap_queue_frames", "i8"),
        ("host_interrupt_ps", "i8"),
        ("host_interrupt_interval_ps", "i8"),
        ("host_adapts", "i8"),  # that interval follows the load, as the guest's does
        ("host_moderation_class", "i8", (2,)),
        ("host_moderated_bytes", "i8", (2,)),  # in and out since the last interrupt
        ("host_nic_ps", "i8"),  # the host's softirq is busy until then
        ("host_gro", "i8"),
        ("host_frame_bytes", "i8"),  # a full frame; and the longest that is one
        ("host_most_bytes", "i8"),
        ("host_frame_ps", "i8"),  # what one takes the softirq, on average
        ("host_polled", "i8"),  # frames since the softirq's interrupt
        ("host_held", "i8"),  # flows of which it holds frames
        ("host_joined", JOINED, (JOINED_FLOWS,)),
        ("host_cuts_sends", "i8"),  # the card does not
        ("host_send_ps", "i8"),  # the softirq that sends is busy until then
        ("host_backlog_ps", "i8"),  # how far the host's card may be behind before vhost waits for it
        ("clock_ps", "i8"),
        ("gathers", "i8"),  # the guest takes a packet in several buffers
        ("sends_next", "i8"),  # whose turn it is when there is work both ways
        ("rx_seen", "i8"),
        ("rx_used", "i8"),
        ("tx_seen", "i8"),
        ("tx_used", "i8"),
        ("rx_ready_ps", "i8"),
        ("tx_ready_ps", "i8"),
        ("tx_sleeps", "i8"),  # until it is kicked
        ("relay_from_ps", "i8"),  # when the relay can start on what has landed
    ]
)
"""vhost's worker, the host's own NIC in front of it, and a vDPA device's relay, whose clock is ``clock_ps`` too."""

ORACLE = np.dtype(
    [
        ("iotlb_misses", "i8"),
        ("dma_faults", "i8"),
        ("slot", SLOT, (MOST_DESCRIPTORS,)),
        ("held", HELD, (HELD_PACKETS,)),
        ("gathered", PART, (MOST_PARTS,)),
        # a packet in several buffers, while the observer reads it
        ("read_bytes", "i8"),
        ("read_sequence", "i8"),
        ("read_spoilt", "i8"),  # frames that had ended in it before its last buffer
        ("read_foreign", "i8"),  # a buffer was not the packet's
        ("read_bad", "i8"),  # frames of which a block was not theirs, and the last of them
        ("read_bad_frame", "i8"),
        # answers that reached the peer in this slice
        ("reports_replies", "i8"),
        ("replies", "i8"),
        ("reply_ps", "i8", (REPLIES,)),
        ("reply_length", "i8", (REPLIES,)),
        ("reply_flow", "i8", (REPLIES,)),
        ("reply_tag", "i8", (REPLIES,)),
        ("sent_flow", "i8", (SENT_FRAMES,)),
        ("sent_tag", "i8", (SENT_FRAMES,)),
        # counts
        ("rx_offered", "i8"),
        ("rx_delivered", "i8"),
        ("rx_delivered_bytes", "i8"),
        ("rx_corrupted", "i8"),
        ("rx_handed_over", "i8"),
        ("rx_duplicated", "i8"),
        ("rx_phantom", "i8"),
        ("lost_fifo", "i8"),
        ("lost_descriptor", "i8"),
        ("lost_blackout", "i8"),
        ("lost_reset", "i8"),
        ("lost_dma", "i8"),
        ("lost_ring", "i8"),
        ("lost_socket", "i8"),
        ("tx_offered", "i8"),
        ("tx_delivered", "i8"),
        ("tx_delivered_bytes", "i8"),
        ("tx_corrupted", "i8"),
        ("tx_duplicated", "i8"),
        ("tx_refused", "i8"),
        ("tx_expected", "i8"),
        # the longest gap that the peer sees
        ("seen_ps", "i8"),
        ("longest_gap_ps", "i8"),
        ("seen_by_replies", "i8"),
        ("latency", "i8", (LATENCY_BUCKETS,)),
        ("measures_latency", "i8"),
    ]
)
"""The test bench's own: what was sent for each descriptor, what became of it, and what the peer sees."""

QUEUE_PAIR = np.dtype(
    [
        (MODEL, "i8"),
        ("path", "i8"),
        ("enabled", "i8"),  # the device may move packets
        ("admits_from_ps", "i8"),  # the network delivers to this port from then on
        ("paused", "i8"),  # the vCPU does not run
        ("quiesce_requested", "i8"),  # the driver knows of the migration and polls no more
        ("polling", "i8"),
        ("poll_left", "i8"),
        ("interrupt_pending", "i8"),
        ("interrupt_ps", "i8"),
        ("last_interrupt_ps", "i8"),
        ("interrupt_interval_ps", "i8"),
        ("tx_interrupt_pending", "i8"),  # of the virtio transmit queue, which has a vector of its own
        ("tx_interrupt_ps", "i8"),
        ("watchdog_ps", "i8"),  # when the driver polls whatever the device says
        # interrupt moderation
        ("adapts", "i8"),
        ("moderation_class", "i8", (2,)),
        ("moderated_bytes", "i8", (2,)),  # in and out since the last interrupt
        ("low_from_bytes_per_us", "i8"),
        ("bulk_from_bytes_per_us", "i8"),
        ("backend_slot", "i8"),  # the mechanism that serves this port
        ("queues", "i8"),  # that one core relays for
        ("nic", NIC),
        ("vhost", VHOST),
        ("oracle", ORACLE),
    ]
)
"""A pair of receive and transmit queue with its interrupt: the path that packets take, the state of both actors, and
the records of device, vhost and oracle."""
