"""Small experiments, one of each strategy; run as a program, prints what each measured.

Run with ``NUMBA_DISABLE_JIT=1`` the kernels are the Python they are written in, and must say the same.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from support.runs import MS, STRATEGIES, run

from vfbench.experiment import Device, Driver, Guest, Phases, Precopy
from workloads import Bulk

MIB = 1 << 20
QUICKER: dict[str, dict[str, Any]] = {"standby-failover": {"link_watch": False}}
"""Two seconds of nothing but packets are long without the compiler."""
PARTS: dict[str, Any] = {
    "guest": Guest(memory_bytes=96 * MIB, packet_memory_bytes=MIB),
    "driver": Driver(rx_ring=64, tx_ring=64, rx_mode="copybreak"),
    "device": Device(writeback_batch=4),
    "phases": Phases(warmup_ns=MS // 4, steady_ns=MS // 2, after_ns=MS, interval_ns=MS // 2),
    "migration": Precopy(bandwidth_bps=20 * 10**9, line_rate_bps=20 * 10**9),
}


def outcome_of(name: str) -> dict[str, Any]:
    workload = Bulk(
        rate_bps=10**8, send_ratio=0.5, working_set_bytes=64 * 1024, dirty_rate_pages_per_s=100_000
    )
    found = run(STRATEGIES[name](**QUICKER.get(name, {})), workload, **PARTS)
    return {"state": found.state, "measures": found.measures, "rounds": found.rounds, "rows": found.intervals}


if __name__ == "__main__":
    json.dump({name: outcome_of(name) for name in sys.argv[1:]}, sys.stdout, sort_keys=True)
