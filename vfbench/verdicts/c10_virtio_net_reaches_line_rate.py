"""C10: virtio-net reaches 10 Gb/s and pays only latency.

Packets copied by the host against the assigned VF, at line rate. A cell holds if the copied way reaches 99 % of the
link's rate, and sends as much of it as it is to. Latency and cycles of both are told beside it: what it pays besides
latency is the host's processor.
"""

from __future__ import annotations

from vfbench.verdicts.evidence import Cell, Evidence, needed, paired
from vfbench.verdicts.finding import Finding, Judgement, short
from vfbench.verdicts.kinds import is_copied_by_host
from vfbench.verdicts.line_rate import is_offered, is_reached
from vfbench.verdicts.verdict import Claim, NotEnough
from vfbench.verdicts.yardstick import plain_vf


def judge(evidence: Evidence) -> Judgement:
    """The rule above, cell by cell."""
    copied = [cell for cell in evidence.completed(is_copied_by_host, faults="") if is_offered(cell)]
    needed(copied, "packets copied by the host, offered the link's rate")
    pairs = paired(copied, needed(plain_vf(evidence), "the assigned VF without an IOMMU"))
    if not pairs:
        raise NotEnough("no run of both with the same work")
    findings = [Finding(is_reached(cell), (cell, free), _measures(cell, free)) for cell, free in pairs]
    axes = ("workload.frame_bytes", "guest.queues", "workload.send_ratio")
    subject = evidence.timed(is_copied_by_host, faults="")
    return Judgement(
        findings,
        axes,
        _remark(pairs),
        evidence.never_migrated(is_copied_by_host, faults=""),
        len(subject),
    )


def _measures(cell: Cell, free: Cell) -> dict[tuple[str, str], float]:
    return {
        ("copied", "Gb/s"): cell.median("gbps"),
        ("VF", "Gb/s"): free.median("gbps"),
        ("p50 copied", "us"): cell.median("latency_p50_us"),
        ("p50 VF", "us"): free.median("latency_p50_us"),
        ("p99 copied", "us"): cell.median("latency_p99_us"),
        ("p99 VF", "us"): free.median("latency_p99_us"),
        ("p99.9 copied", "us"): cell.median("latency_p999_us"),
        ("p99.9 VF", "us"): free.median("latency_p999_us"),
    }


def _remark(pairs: list[tuple[Cell, Cell]]) -> str:
    below = [(cell, free) for cell, free in pairs if not is_reached(cell)]
    reached = [(cell, free) for cell, free in pairs if is_reached(cell)] or pairs
    copied = max(cell.median("host_cycles_per_packet") for cell, _ in reached)
    free = max(other.median("host_cycles_per_packet") for _, other in reached)
    slower = sum(cell.median("latency_p50_us") > other.median("latency_p50_us") for cell, other in reached)
    lead = "Latency is not all that it pays" if copied > free else "It pays no more of the host"
    text = (
        f"{lead}: up to {short(copied)} host cycles per packet (the VF {short(free)}); its median latency is the "
        f"higher one in {slower} of {len(reached)} cells."
    )
    if below:
        neither = sum(not is_reached(other) for _, other in below)
        text += (
            f" Of the {len(below)} cells in which it falls short, the VF falls short in {neither} as well."
        )
    return text


CLAIM = Claim(
    id="C10",
    text="virtio-net reaches 10 Gb/s and pays only latency.",
    source="linux-pci, October 2015: the case for giving the device up",
    settled_by="Gb/s and p50/p99/p99.9 latency against the assigned VF",
    rule=judge,
    advice={
        "holds": "virtio-net is fast enough; budget the host's cores and the latency.",
        "fails": "do not expect line rate from virtio-net; add queues, or keep the VF.",
        "holds-within": "rely on virtio-net, and a host core for it, {holds}; {fails} add queues or keep the VF.",
    },
)
