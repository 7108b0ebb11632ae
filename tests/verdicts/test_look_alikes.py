"""A strategy that looks like what a claim is about, and is something else, stays out of it."""

from __future__ import annotations

from typing import Any

import pytest
from support.made_up_records import (
    DAMAGED,
    TRAITS_OF,
    WHOLE,
    Rows,
    intervals_frame,
    made_up,
    rounds_frame,
    verdict,
)

from vfbench.verdicts import CLAIMS

UNDRAINED = {"stop_order": "undrained", "faults": "3"}
CYCLES = {
    f"{side}_cycles_per_packet{phase}": 50.0
    for side in ("guest", "host")
    for phase in ("", "_migrating", "_after")
}
DEAR = dict.fromkeys(CYCLES, 90.0)
LATENCY = {"latency_p50_us": 9.0, "latency_p99_us": 9.0, "latency_p999_us": 9.0}


def enough(claim: str) -> list[Rows]:
    """Runs that settle a claim."""
    plain = made_up("untracked", gbps=10.0, gbps_migrating=10.0, **CYCLES, **LATENCY)
    mapped = {"gbps": 3.0, "gbps_migrating": 3.0, "exit_class": "user-space", **DEAR}
    copied = made_up("copied", gbps=9.0, gbps_migrating=9.0, **CYCLES, **LATENCY)
    skipping = [
        [
            {**row, "strategy.skip_mapped": skip}
            for row in made_up("iommu", skip_mapped=skip, resent_bytes=sent)
        ]
        for skip, sent in ((True, 1 << 20), (False, 9 << 20))
    ]
    last = {"stop_order": "device-last", "faults": "1"}
    return {
        "C1": [
            made_up("untracked", **DAMAGED),
            made_up("stores", **WHOLE),
            made_up("stores", **UNDRAINED, **DAMAGED),
        ],
        "C2": [made_up("stores", **UNDRAINED, **DAMAGED)],
        "C3": [made_up("stores")],
        "C4": skipping,
        "C5": [made_up("stores", **WHOLE), made_up("stores", **last, **DAMAGED)],
        "C6": [made_up("iommu", **mapped), copied],
        "C7": [made_up("iommu", **mapped), plain],
        "C8": [
            made_up("iommu", iommu_maps=1000, **mapped),
            made_up("iommu", iommu_maps=0, **{**mapped, "gbps": 9.9}, guest__queues=2),
            plain,
            made_up("untracked", gbps=10.0, guest__queues=2),
        ],
        "C9": [made_up("iommu", **mapped), plain],
        "C10": [copied, plain],
        "C11": [made_up("stores"), made_up("given-up")],
        "C12": [made_up("stores", service_gap_ms=20.0)],
    }[claim]


def settled(claim: str, groups: list[Rows]) -> Any:
    """The verdict on these runs, each with rounds that re-send the ring and a timeline."""
    rows = [row for group in groups for row in group]
    timeline = [
        {
            "experiment": row["experiment"],
            "interval": number,
            "phase": phase,
            "length_ms": 10.0,
            "packets_offered": 1000,
            "packets_delivered": 1000 - lost,
            "gbps": 1.0,
        }
        for row in rows
        for number, (phase, lost) in enumerate([("steady", 0), ("migrating", 8), ("after", 0)])
    ]
    rounds = rounds_frame({row["experiment"]: [500, 514, 514, 514] for row in rows})
    return verdict(claim, *groups, rounds=rounds, intervals=intervals_frame(timeline))


def instead(groups: list[Rows], kind: str, look_alike: str) -> list[Rows]:
    """The same runs, but those of one kind are of another that looks like it."""
    taken = TRAITS_OF[kind]

    def is_of_kind(row: dict[str, Any]) -> bool:
        return row["strategy"] == f"some-{kind}"

    def other(row: dict[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in row.items() if name not in taken or name == "skip_mapped"}
        return {**made_up(look_alike)[0], **kept, **TRAITS_OF[look_alike], "strategy": f"some-{look_alike}"}

    return [[other(row) if is_of_kind(row) else row for row in group] for group in groups]


LOOK_ALIKES = [
    ("C1", "stores", "fenced"),
    ("C1", "stores", "dma-api"),
    ("C1", "untracked", "bounced"),
    ("C2", "stores", "fenced"),
    ("C3", "stores", "fenced"),
    ("C3", "stores", "dma-api"),
    ("C4", "iommu", "no-exits"),
    ("C4", "iommu", "bits-behind-an-iommu"),
    ("C5", "stores", "device-log"),
    ("C6", "iommu", "no-exits"),
    ("C6", "iommu", "bits-behind-an-iommu"),
    ("C6", "copied", "relayed"),
    ("C7", "iommu", "no-exits"),
    ("C7", "untracked", "bounced"),
    ("C8", "iommu", "no-exits"),
    ("C8", "untracked", "bounced"),
    ("C9", "iommu", "no-exits"),
    ("C9", "iommu", "bits-behind-an-iommu"),
    ("C9", "untracked", "bounced"),
    ("C10", "copied", "relayed"),
    ("C10", "untracked", "bounced"),
    ("C11", "stores", "untracked"),
    ("C11", "given-up", "relayed"),
    ("C12", "stores", "untracked"),
]


def test_every_claim_meets_a_look_alike() -> None:
    assert {claim for claim, _, _ in LOOK_ALIKES} == {claim.id for claim in CLAIMS}


@pytest.mark.parametrize("claim", [claim.id for claim in CLAIMS])
def test_these_runs_do_settle_the_claim(claim: str) -> None:
    assert settled(claim, enough(claim)).outcome != "not-enough-data"


@pytest.mark.parametrize(("claim", "kind", "look_alike"), LOOK_ALIKES)
def test_a_look_alike_alone_settles_nothing(claim: str, kind: str, look_alike: str) -> None:
    assert settled(claim, instead(enough(claim), kind, look_alike)).outcome == "not-enough-data"


@pytest.mark.parametrize(("claim", "kind", "look_alike"), LOOK_ALIKES)
def test_a_look_alike_beside_it_changes_nothing(claim: str, kind: str, look_alike: str) -> None:
    runs = enough(claim)
    beside = [
        [{**row, "experiment": f"{row['experiment']}-other"} for row in group]
        for group in instead(runs, kind, look_alike)
    ]
    strangers = [[row for row in group if row["strategy"] == f"some-{look_alike}"] for group in beside]
    assert settled(claim, [*runs, *strangers]).to_json() == settled(claim, runs).to_json()
