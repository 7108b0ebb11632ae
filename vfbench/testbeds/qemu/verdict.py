"""What the guest's own program and kernel say at the end, and the class that every frame ends in."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.guests import APPLICATION, INTERFACE

if TYPE_CHECKING:
    from vfbench.testbeds.qemu.boot.guest import Guest

REPORT_S, ANSWER_S = 60.0, 20.0
TRIES, TRY_AGAIN_S = 3, 1.0
NOT_FOUND = "(127)"
"""The shell's code for a command that there is not."""
TROUBLE, LAST_TROUBLES = "BUG|Oops|RIP:|Out of memory|Unit Hang", 4
"""What a kernel says that killed a process of its own accord."""
STALE_KINDS = ("zero", "older", "mixture", "foreign", "short")
_DROPS = ("rx_dropped", "rx_errors", "rx_missed_errors", "rx_crc_errors", "rx_length_errors")


@dataclass(frozen=True)
class GuestVerdict:
    """``good``: a bool for each frame offered. ``stale``: packets that were not what was sent, by kind.

    ``answered``: answers sent; ``dropped``: packets that the guest's kernel dropped, by its own counters.
    """

    good: npt.NDArray[np.bool_]
    stale: dict[str, int]
    answered: int
    dropped: int
    counters: dict[str, int]

    @property
    def stale_packets(self) -> int:
        return sum(self.stale.values())


def ask_verdict(guest: Guest, offered: int) -> GuestVerdict:
    """Let the application read all that it holds, and take its report."""
    reports = [json.loads(line) for line in _ask(guest, "agent collect", REPORT_S)]
    own = [each for each in reports if each.get("agent") == APPLICATION]
    if not own:
        raise RunFailed(f"the guest's program gave no report, only {reports}")
    return read_report(own[0], _counters(guest), offered)


def read_report(report: dict[str, Any], counters: dict[str, int], offered: int) -> GuestVerdict:
    """From what the guest's program and the guest's kernel counted, of ``offered`` frames."""
    seen = np.frombuffer(bytes.fromhex(report["seen"]), dtype=np.uint8)
    good = np.zeros(offered, dtype=np.bool_)
    bits = np.unpackbits(seen, bitorder="little")[:offered].astype(np.bool_)
    good[: len(bits)] = bits
    stale = {kind: int(report[kind]) for kind in STALE_KINDS}
    # A packet socket takes frames before UDP sees them, so it is its own drops that count (port 0: it has none).
    by_protocol = counters["udp_errors"] if report["port"] else int(report["socket_drops"])
    dropped = by_protocol + sum(counters[name] for name in _DROPS)
    return GuestVerdict(good, stale, int(report["answered"]), dropped, counters)


def _ask(guest: Guest, command: str, limit_s: float = ANSWER_S) -> list[str]:
    """Ask again where the command did not arrive whole: a guest whose driver is in trouble loses input."""
    for left in reversed(range(TRIES)):
        try:
            return guest.console.ask(command, limit_s)
        except RunFailed as failure:
            if left == 0 or NOT_FOUND not in str(failure):
                raise
            time.sleep(TRY_AGAIN_S)
    raise AssertionError


def _counters(guest: Guest) -> dict[str, int]:
    """The guest's own: of its interface and of UDP (InErrors holds RcvbufErrors and InCsumErrors; NoPorts does not)."""
    place = f"/sys/class/net/{INTERFACE}/statistics"
    names = ("rx_packets", *_DROPS)
    numbers = _ask(guest, f"cd {place} && cat {' '.join(names)}; cd /")
    if len(numbers) != len(names) or not all(each.isdigit() for each in numbers):
        said = " / ".join(_ask(guest, f"dmesg | grep -E '{TROUBLE}' | tail -n {LAST_TROUBLES}"))
        raise RunFailed(
            f"the guest does not tell its counters, but {' / '.join(numbers) or 'nothing'}; its kernel said: "
            f"{said or 'nothing of it'}"
        )
    found = dict(zip(names, map(int, numbers), strict=True))
    udp = [line.split() for line in _ask(guest, "grep ^Udp: /proc/net/snmp")]
    by_name = dict(zip(udp[0][1:], map(int, udp[1][1:]), strict=True))
    found["udp_errors"] = by_name["InErrors"] + by_name["NoPorts"]
    found["udp_received"] = by_name["InDatagrams"]
    return found
