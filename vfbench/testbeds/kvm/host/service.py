"""What serves a guest's exits: a compiled kernel by its address, and the records that it is called with."""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.machine.queue_pair import QUEUE_PAIR
from vfbench.machine.wire import FRAMES, SOURCE
from vfbench.testbeds.kvm.host.host_records import HOST, WIRE


def records(dtype: np.dtype[Any], count: int = 1) -> Any:
    """``count`` zeroed records."""
    return np.zeros(count, dtype=dtype).view(np.recarray)


class Service:
    """``arguments``: the kernel's address, then host, wire, peer, its frames, and port.

    Without records it serves nothing and must not be called: no register's action may be SERVED then.
    """

    def __init__(self, *given: Any) -> None:
        if not given:
            given = tuple(records(each)[0] for each in (HOST, WIRE, SOURCE, FRAMES, QUEUE_PAIR))
            address = 0
        else:
            # Only now: the hypervisor's kernels need the compiler, and a VM that serves nothing does not.
            from vfbench.kernels import address_of
            from vfbench.testbeds.kvm.host.hypervisor import serve

            address = address_of(serve, *given, 0, 0, 0)
        self.arguments = (address, *given)
