"""All claims, and their evaluation on the records of every testbed and profile apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from vfbench.parameters import unknown
from vfbench.verdicts import (
    c01_dummy_write_is_enough,
    c02_neighbour_descriptors,
    c03_reused_pages_are_resent,
    c04_skipping_mapped_pages,
    c05_device_stops_first,
    c06_virtio_net_would_be_better,
    c07_no_line_rate_without_tricks,
    c08_static_mappings_only,
    c09_cost_is_always_paid,
    c10_virtio_net_reaches_line_rate,
    c11_keeping_the_vf,
    c12_network_downtime,
)
from vfbench.verdicts.evidence import Cell, Evidence
from vfbench.verdicts.finding import conclude
from vfbench.verdicts.verdict import Claim, NotEnough, Verdict

if TYPE_CHECKING:
    import pandas

CLAIMS: tuple[Claim, ...] = (
    c01_dummy_write_is_enough.CLAIM,
    c02_neighbour_descriptors.CLAIM,
    c03_reused_pages_are_resent.CLAIM,
    c04_skipping_mapped_pages.CLAIM,
    c05_device_stops_first.CLAIM,
    c06_virtio_net_would_be_better.CLAIM,
    c07_no_line_rate_without_tricks.CLAIM,
    c08_static_mappings_only.CLAIM,
    c09_cost_is_always_paid.CLAIM,
    c10_virtio_net_reaches_line_rate.CLAIM,
    c11_keeping_the_vf.CLAIM,
    c12_network_downtime.CLAIM,
)


def chosen_claims(ids: Iterable[str]) -> tuple[Claim, ...]:
    """The claims with these ids, in any case of letters; all of them for none. UserError for an unknown one."""
    known = {claim.id: claim for claim in CLAIMS}
    wanted = [each.upper() for each in ids]
    for each in wanted:
        if each not in known:
            raise unknown("no claim is called", each, known)
    return tuple(claim for claim in CLAIMS if not wanted or claim.id in wanted)


def evaluate(
    runs: pandas.DataFrame,
    rounds: pandas.DataFrame,
    intervals: pandas.DataFrame,
    claims: Sequence[Claim] = CLAIMS,
) -> list[Verdict]:
    """One verdict for each claim, testbed and profile, by testbed and profile in order of appearance.

    The frames are those of ``vfbench.records.read_runs``, ``read_rounds`` and ``read_intervals``.
    """
    verdicts = []
    by = ["testbed", "profile", "profile_digest"]
    for (testbed, profile, digest), own in runs.groupby(by, dropna=False, sort=False):
        evidence = Evidence(own, _of(rounds, testbed, digest), _of(intervals, testbed, digest))
        label = f"{profile}@{str(digest)[:8]}"
        verdicts += [_verdict(claim, evidence, str(testbed), label) for claim in claims]
    return verdicts


def _of(parts: pandas.DataFrame, testbed: object, digest: object) -> pandas.DataFrame:
    return parts[(parts["testbed"] == testbed) & (parts["profile_digest"] == digest)]


def _with_traits(evidence: Evidence) -> Evidence:
    if evidence.is_silent:
        raise NotEnough(
            "these records don't say what their strategies declare (an older vfbench wrote them): run again"
        )
    return evidence


def _verdict(claim: Claim, evidence: Evidence, testbed: str, profile: str) -> Verdict:
    try:
        return conclude(claim, claim.rule(_with_traits(evidence)), testbed, profile)
    except NotEnough as missing:
        text = f"{str(missing)[0].upper()}{str(missing)[1:]}."
        if _waits_for_times(claim, evidence):
            text += (
                " Guest code was emulated, so times and throughput of these runs don't count: this claim waits for a "
                "host on which KVM runs guests natively."
            )
        return Verdict(claim.id, testbed, profile, "not-enough-data", text, command=claim.command_on(testbed))


class _NotingTimes(Evidence):
    """Takes down whether a rule asks for runs whose times count."""

    times_asked = False

    def timed(self, kind: Callable[[Cell], bool], **wanted: object) -> list[Cell]:
        type(self).times_asked = True
        return super().timed(kind, **wanted)


def _waits_for_times(claim: Claim, evidence: Evidence) -> bool:
    """Whether the rule goes by times, and guest code was emulated in these runs."""
    if not evidence.runs["functional"].fillna(False).any():
        return False

    class Noting(_NotingTimes):
        """Of this rule alone."""

    with suppress(NotEnough):
        claim.rule(Noting(evidence.runs, evidence.rounds, evidence.intervals))
    return Noting.times_asked
