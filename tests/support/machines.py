"""What tests of the machine's parts share: settings, and counters of a machine seen from outside."""

from __future__ import annotations

from support.runs import DRIVER, MS, changed

from vfbench.experiment import Precopy
from vfbench.testbeds.counting import LOSSES

MBPS, GBPS = 10**6, 10**9
US_PS, MS_PS = 10**6, 10**9
QUIET = {"dirty_rate_pages_per_s": 0}
SMALL_RING = changed(DRIVER, rx_ring=64)
FRESH_PAGES = changed(DRIVER, page_reuse="none")
OLDEST_FIRST = changed(FRESH_PAGES, page_order="fifo")
# 0.3 s for all memory, so that there are rounds; and less than the ring's pages fit the downtime limit.
NEVER_CONVERGES = Precopy(bandwidth_bps=2 * GBPS, downtime_limit_ns=MS, max_rounds=6)


def field(made, offset):
    """A word of the first queue's driver."""
    return int(made.memory.words[(int(made.cpus[0].driver) + offset) >> 3])


def total(made, name):
    return int(made.cpus[name].sum())


def lost(made):
    return sum(int(made.pairs["oracle"][name].sum()) for name in LOSSES)


def fall_silent(made, ps=100 * MS_PS):
    made.source.frames_left = 0
    made.advance(made.now_ps + ps)


def after_opening(made):
    """Maps and packets so far, after a while: the slot at the tail gets its first page with the first refill."""
    made.advance(MS_PS)
    return total(made, "maps"), int(made.pairs[0].oracle.rx_handed_over)


def steps(made, step_ps, length_ps):
    """The times at which a machine stands still for a look."""
    until_ps = made.now_ps + length_ps
    while made.now_ps < until_ps:
        made.advance(made.now_ps + step_ps)
        yield made.now_ps
