"""The testbed's own part of guest memory: the guest's records, its mailbox to the hypervisor, and its clock.

It lies in the first 2 MiB beside page tables, stack and code, below everything that the experiment laid out.
It stands for what a guest has in its registers and in pages shared with its hypervisor: it travels with the
vCPU's state and is neither counted nor compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.machine.cpu import GUEST_FIELDS
from vfbench.machine.queue_pair import MOST_DESCRIPTORS
from vfbench.machine.sides import GUEST
from vfbench.mechanism import EXIT_CLASSES
from vfbench.testbeds.kvm.sys import boot

GUEST_CPU = np.dtype(
    [
        *GUEST_FIELDS,
        (GUEST, "i8"),
        ("kicks", "i8"),
        ("stops_in_touch", "i8"),  # a dummy write in two instructions leaves the guest between them
        # the guest's other work
        ("random", "u8"),
        ("writer_gap_ps", "i8"),  # 0: it writes nothing
        ("writer_next_ps", "i8"),
        ("writer_base", "i8"),
        ("writer_pages", "i8"),
        ("writer_count", "i8"),
    ]
)
"""A real guest's processor: what guest code may read on every testbed, and what only a real one needs."""

GUEST_SLOT = np.dtype([("flow", "i8"), ("tag", "i8")])

GUEST_ORACLE = np.dtype([("slot", GUEST_SLOT, (MOST_DESCRIPTORS,))])
"""Of the packet delivered last, in its slot: the host fills it in."""

GUEST_PAIR = np.dtype(
    [
        (GUEST, "i8"),
        ("path", "i8"),
        ("polling", "i8"),
        ("poll_left", "i8"),
        ("interrupt_pending", "i8"),
        ("quiesce_requested", "i8"),  # the driver knows of the migration and polls no more
        # the guest's own time, in ticks of its time-stamp counter: up to when it last stopped counting, and since when
        ("busy_ticks", "i8"),
        ("since_ticks", "i8"),
        ("oracle", GUEST_ORACLE),
    ]
)
"""The driver's side of a queue pair. What the observer knows and what the device holds are outside the guest."""

USER_SPACE, KERNEL = EXIT_CLASSES.index("user-space"), EXIT_CLASSES.index("kernel")

CPU_GPA = boot.RECORDS_BASE
PAIR_GPA = CPU_GPA + boot.PAGE_BYTES
_pair_fields: Any = GUEST_PAIR.fields
QUIESCE_REQUESTED = PAIR_GPA + _pair_fields["quiesce_requested"][1]
APPLICATION_GPA = PAIR_GPA + 0x20000
MAILBOX_GPA = APPLICATION_GPA + boot.PAGE_BYTES
COMMAND_GPA = MAILBOX_GPA + boot.PAGE_BYTES
CLOCK_GPA = COMMAND_GPA + boot.PAGE_BYTES
END_GPA = CLOCK_GPA + boot.PAGE_BYTES
assert GUEST_CPU.itemsize <= boot.PAGE_BYTES
assert GUEST_PAIR.itemsize <= 0x20000
assert END_GPA <= boot.FREE_BASE

# The mailbox: three words of arguments, and a word that is 1 while a call waits to be served on another core.
ARGUMENT_0, ARGUMENT_1, ARGUMENT_2, CALL_PENDING = (MAILBOX_GPA + 8 * n for n in range(4))

# The clock: the wire's time, and the wall clock's, in picoseconds since the run began.
WIRE_CLOCK, WALL_CLOCK = CLOCK_GPA, CLOCK_GPA + 8

# What the hypervisor wants the driver to do: a code, 0 when it is done, and two arguments.
COMMAND, COMMAND_ARGUMENT_0, COMMAND_ARGUMENT_1 = (COMMAND_GPA + 8 * n for n in range(3))
(
    NO_COMMAND,
    NOTICE,
    DRAIN,
    ARM,
    DISARM,
    OPEN_VF,
    CLOSE_VF,
    SET_PATH,
    RESTORE_RINGS,
    LEAVE,
    HANG,
    FAULT,
    REPORT,  # nothing but that it is done with what it was about
) = range(13)

# Ports by which the guest tells something, or asks to sleep.
(
    IDLE,
    HANDED_OVER,
    CONSUMED,
    SENDING,
    REFUSED,
    SOCKET_FULL,
    HYPERCALL,
    INVALIDATE,
    KICK_VHOST,
    RINGS_ROTATED,
    TOUCHING,
) = range(8, 19)
KERNEL_EXIT = 1
"""An ioeventfd: the write is done with inside KVM."""
SERVED_PORTS = range(IDLE, TOUCHING + 1)

INTERRUPT, TRANSMIT_INTERRUPT = 1, 2
"""What a read of IDLE gives, together, when the queue's interrupt came, and the virtio transmit queue's."""
