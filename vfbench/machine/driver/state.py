"""The driver's own page of guest memory: byte offsets of its words.

It is guest memory like any other: the CPU writes it, the log shows it, migration carries it.
"""

NEXT_TO_CLEAN = 0
NEXT_TO_USE = 8
TX_NEXT_TO_CLEAN = 16
TX_NEXT_TO_USE = 24
FREE_HEAD = 32
FREE_TAIL = 40
HELD_HEAD = 48
HELD_TAIL = 56
FRAGMENT_PAGE = 64
FRAGMENT_USED = 72
TX_SEQUENCE = 120
RX_TAIL_WRITTEN = 128
TX_TAIL_WRITTEN = 136
QUIESCED = 144
VIRTIO_RX_ADDED = 160
VIRTIO_RX_SEEN = 168
VIRTIO_TX_ADDED = 176
VIRTIO_TX_SEEN = 184
VIRTIO_RX_KICKED = 192
VIRTIO_TX_KICKED = 200
FREE_BLOCK = 208
GATHERED = 216
GATHERED_BYTES = 224
MERGE_AVERAGE = 232
GRO_TABLE = 256
GATHER_TABLE = 1024

REGISTER_MIRROR = 2048
"""Where the driver keeps each register value that it wrote (S2, MMIO self-emulation)."""

HELD_PACKETS = 1024
"""Packets that a queue's socket buffers take; more are dropped."""
HELD_ENTRY_BYTES = 16

JIFFY_PS = 4 * 10**9
"""A tick of the guest's kernel: CONFIG_HZ=250, as Debian and Ubuntu build it."""
FLUSH_TIMEOUT_JIFFIES = 4
"""``IOVA_FQ_TIMEOUT`` is 10 ms, rounded up to 3 ticks (``msecs_to_jiffies``), and a timer never fires early, so it
fires at the tick after them (``calc_index``, kernel/time/timer.c): 12 to 16 ms after it was started."""

WATCHDOG_PS = 2 * 10**12
"""``ixgbevf_service_timer``: every 2 s the driver makes the device interrupt, for queues that went without."""
