"""One queue pair of the VF as the machine's kernels see it here: the guest's own memory, mapped by us.

An address is an offset into the file that is the guest's memory. The kernels of ``vfbench.machine.vf`` take a
record of this type where the model gives them its processor; what differs is resolved by the record's type.
"""

from __future__ import annotations

import numpy as np

from vfbench.machine.costs import COSTS
from vfbench.machine.cpu import INVALIDATIONS
from vfbench.machine.sides import DEVICE as DEVICE_SIDE

DEVICE = np.dtype(
    [
        ("dma_held", "i8"),  # no mechanism holds the device here: it stays 0
        (DEVICE_SIDE, "i1"),
        ("guest_ram", "i8"),  # where this process maps the guest's memory
        ("ram_bytes", "i8"),
        ("device_wrote", "i8"),  # a byte a page: ours to know, QEMU does not
        ("dirty_log", "i8"),  # a bit a page, shared with QEMU; 0 where nobody keeps one
        ("dirty_log_bytes", "i8"),
        ("high_memory", "i8"),  # offsets from here on are that much higher as guest-physical addresses
        ("high_memory_shift", "i8"),
        ("rx_size", "i8"),
        ("tx_size", "i8"),
        ("virtqueue_size", "i8"),
        ("rx_queue", "i8"),  # offsets of the virtqueues' descriptor tables
        ("tx_queue", "i8"),
        ("host_ps", "i8"),  # what vhost's worker has spent
        ("mappings", "i8"),  # begin, end, offset, access: four words each, ordered by begin
        ("mapping_count", "i8"),
        ("invalidations", "i8"),
        ("invalidations_seen", "i8"),
        ("invalidated_iova", "i8", (INVALIDATIONS,)),
        ("cost", "i8", (len(COSTS),)),
        # frames
        ("ledger", "i8"),  # LEDGER_WORDS words for each sequence number
        ("ledger_frames", "i8"),
        ("contents", "i8"),  # a capture's frames, and offset and length of each
        ("contents_table", "i8"),
        ("contents_frames", "i8"),  # 0: frames are made up
        ("headers", "i8"),  # Ethernet, IPv4 and UDP of a received frame
        ("tx_frame", "i8"),  # a frame of the guest's, gathered from its descriptors
        ("tx_bytes", "i8"),
        ("other_frames", "i8"),  # of them, no answers of the application
        ("tx_headless", "i8"),  # frames longer than the buffer
    ]
)

LEDGER_WORDS = 4
LEDGER_FLOW, LEDGER_ANSWER, LEDGER_PLACE, LEDGER_LANDED_PS = range(LEDGER_WORDS)
"""Flow, UDP payload of the answer, offset where it was written plus 1 (0: nowhere), and when."""

MAPPING_WORDS = 4
MAPPING_BEGIN, MAPPING_END, MAPPING_OFFSET, MAPPING_ACCESS = range(MAPPING_WORDS)

TX_FRAME_BYTES = 1 << 16
