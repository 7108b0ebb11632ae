"""What passes between a peer, the port and the application: records that workload kernels and the machine share."""

from __future__ import annotations

import numpy as np

NEVER_PS = 1 << 62
BATCH_FRAMES = 1024
PENDING_ANSWERS = 4096
WIRE_OVERHEAD_BYTES = 20
"""Preamble, start delimiter and inter-frame gap: what a frame takes on the wire beyond itself."""
LEAST_FRAME_BYTES = 64
FCS_BYTES = 4
ETHERNET_BYTES = 18
"""Header and FCS: what a frame has beside its IP packet."""
HEADER_BYTES = 66
"""Ethernet (14), IPv4 (20) and TCP with timestamps (32): what each frame of a send over the MTU begins with."""
FRAME_OVERHEAD_BYTES = HEADER_BYTES + FCS_BYTES
FULL_FRAME_BYTES = 1518 + WIRE_OVERHEAD_BYTES
"""A frame of Ethernet's MTU, as long as it takes the wire."""
BUFFER_BYTES = 2048
"""One receive buffer, half a page: what is longer takes several."""
LONGEST_FRAME_BYTES = 9728
"""IXGBE_MAX_JUMBO_FRAME_SIZE, FCS included: the longest that an 82599 takes, for a VF too."""
TAG_PUSH = 1 << 40
"""In the tag of a frame that is numbered: its sender has no more for now (PSH)."""

SOURCE = np.dtype(
    [
        ("next_ps", "i8"),  # the workload's own clock: when the next frame starts
        ("wire_free_ps", "i8"),  # the wire is taken until then
        ("ps_per_byte", "i8"),
        ("turnaround_ps", "i8"),  # from an answer's arrival to the next request
        ("frames_left", "i8"),  # how many more frames may be offered
        ("sequence", "i8"),  # frames offered so far
        ("flows", "i8"),
        ("gap_ps", "i8"),  # mean start-to-start distance at the offered rate, for the mean frame
        ("random", "u8"),
        ("table", "i8"),  # address of an int64 table (a distribution, a capture)
        ("table_length", "i8"),
        ("scratch", "i8", (16,)),  # the workload's own
        ("ready_ps", "i8", (PENDING_ANSWERS,)),  # closed loop: requests to come, in time order
        ("ready_flow", "i8", (PENDING_ANSWERS,)),
        ("ready_head", "i8"),
        ("ready_tail", "i8"),
        ("reply_tag", "i8"),  # of the frame that ``peer_received`` runs for
        ("frame_bytes", "i8"),  # the longest frame by the MTU, FCS included
    ]
)
"""The peer's state, on the host's side; one for the whole port."""

FRAMES = np.dtype(
    [
        ("count", "i8"),
        ("arrival_ps", "i8", (BATCH_FRAMES,)),  # when the last bit is in
        ("length", "i8", (BATCH_FRAMES,)),
        ("flow", "i8", (BATCH_FRAMES,)),
        ("tag", "i8", (BATCH_FRAMES,)),  # what the application is to know of it, say a key's rank
    ]
)
"""A batch of frames on their way to the port, in order of arrival."""

APPLICATION = np.dtype(
    [
        ("random", "u8"),
        ("send_share_65536", "i8"),  # answers per packet received, in 1/65536
        ("send_credit_65536", "i8"),
        ("write_bytes", "i8"),  # what it sends at a time; 0: a frame as long as the one received
        ("flow", "i8"),  # of the packet that ``delivered`` is given
        ("tags", "i8"),  # its answers carry tags
        ("reply_tag", "i8"),  # of an answer's first frame; one more for each further frame
        ("reply_flow", "i8"),
        ("reply_last", "i8"),  # bits set in the last frame's tag besides
        ("frame_bytes", "i8"),  # the longest frame by the MTU, FCS included
        ("timer_ps", "i8"),  # when ``delivered`` is to be called with a length of 0; 0: never
        ("table", "i8"),  # address of an int64 table, as a source's
        ("heap", "i8"),  # guest-physical address of the application's own pages
        ("heap_pages", "i8"),
        ("scratch", "i8", (16,)),  # the workload's own
    ]
)
"""The application's state, on the guest's side; one for each queue."""
