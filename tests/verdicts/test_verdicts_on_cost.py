"""Every outcome of the claims on what a strategy costs, on made-up records."""

from __future__ import annotations

from typing import Any

from support.made_up_records import Rows, intervals_frame, made_up, verdict

from vfbench.verdicts import Verdict

# ---- C6


def speed(gbps: float, cycles: float, migrating: float | None = None, **more: Any) -> dict[str, Any]:
    return {
        "gbps": gbps,
        "gbps_migrating": gbps if migrating is None else migrating,
        **{
            f"{side}_cycles_per_packet{phase}": cycles / 2
            for side in ("guest", "host")
            for phase in ("", "_migrating", "_after")
        },
        **more,
    }


def test_c6_holds_where_the_copied_way_is_faster() -> None:
    assert verdict("C6", made_up("iommu", **speed(2, 9)), made_up("copied", **speed(8, 9))).outcome == "holds"


def test_c6_fails_where_the_mapped_way_is_faster() -> None:
    assert verdict("C6", made_up("iommu", **speed(8, 9)), made_up("copied", **speed(2, 9))).outcome == "fails"


def test_c6_is_decided_by_cycles_where_both_fill_the_link() -> None:
    fewer = verdict("C6", made_up("iommu", **speed(10, 2000)), made_up("copied", **speed(10, 6000)))
    more = verdict("C6", made_up("iommu", **speed(10, 7000)), made_up("copied", **speed(10, 6000)))
    assert (fewer.outcome, more.outcome) == ("fails", "holds")


def test_c6_turns_with_the_cost_class() -> None:
    found = verdict(
        "C6",
        made_up("iommu", **speed(2, 9)),
        made_up("iommu", **speed(9, 9), exit_class="none"),
        made_up("copied", **speed(8, 9)),
    )
    assert found.outcome == "holds-within"
    assert found.holds_where == "where exit class is kernel"


def test_c6_tells_the_migration_from_the_steady_state() -> None:
    found = verdict(
        "C6", made_up("iommu", **speed(8, 9, migrating=9)), made_up("copied", **speed(9, 9, migrating=6))
    )
    assert found.holds_where == "where phase is steady"


def test_c6_says_nothing_where_the_spread_is_too_wide() -> None:
    wide = {**speed(8, 9), "gbps": [5.0, 8.0, 11.0], "gbps_migrating": [5.0, 8.0, 11.0]}
    found = verdict("C6", made_up("iommu", seeds=3, **wide), made_up("copied", seeds=3, **speed(8, 9)))
    assert found.outcome == "not-enough-data"
    assert "too wide" in found.text


# ---- C7


def plain(**given: Any) -> Rows:
    """Behind an IOMMU without any trick."""
    return made_up("iommu", exit_class="user-space", **given)


def test_c7_holds_where_no_plain_iommu_reaches_line_rate() -> None:
    found = verdict("C7", plain(gbps=3.0), made_up("untracked", gbps=10.0))
    assert found.outcome == "holds"


def test_c7_fails_where_every_plain_iommu_reaches_it() -> None:
    assert verdict("C7", plain(gbps=10.0), made_up("untracked", gbps=10.0)).outcome == "fails"


def test_c7_turns_with_recycled_pages() -> None:
    runs = []
    for reuse, gbps in (("flip", 10.0), ("none", 3.0)):
        runs += [
            plain(gbps=gbps, driver__page_reuse=reuse),
            made_up("untracked", gbps=10.0, driver__page_reuse=reuse),
        ]
    found = verdict("C7", *runs)
    assert found.outcome == "holds-within"
    assert found.holds_where == "where driver.page-reuse is none"


def test_c7_counts_tricks_apart() -> None:
    found = verdict(
        "C7",
        plain(gbps=3.0),
        made_up("iommu", gbps=10.0, entries_per_call=32),
        made_up("iommu", gbps=4.0),
        made_up("untracked", gbps=10.0),
    )
    assert found.outcome == "holds"
    assert "the kernel with 32 entries a call 1 of 1; the kernel 0 of 1" in found.text


def test_c7_counts_tracking_armed_only_while_migrating_as_a_trick() -> None:
    late = plain(gbps=10.0, tracks_always=False)
    found = verdict("C7", plain(gbps=3.0), late, made_up("untracked", gbps=10.0))
    assert found.outcome == "holds"
    assert "tracking armed only while migrating 1 of 1" in found.text


def test_c7_learns_nothing_from_work_that_no_vf_carries() -> None:
    found = verdict("C7", plain(gbps=1.0), made_up("untracked", gbps=2.0))
    assert found.outcome == "not-enough-data"


# ---- C8


def c8(static: float, per_packet: float | None) -> Verdict:
    """Throughput of 10 Gb/s with each kind of mappings; 1000 packets are received in the steady state."""
    runs = [made_up("untracked", gbps=10.0), made_up("iommu", gbps=static, mapping="static", iommu_maps=0)]
    if per_packet is not None:
        runs.append(made_up("iommu", gbps=per_packet, iommu_maps=1000))
    steady = {"interval": 0, "phase": "steady", "packets_delivered": 1000}
    rows = [{"experiment": made[0]["experiment"], **steady} for made in runs]
    return verdict("C8", *runs, intervals=intervals_frame(rows))


def test_c8_holds_where_static_mappings_alone_are_cheap() -> None:
    assert c8(static=9.9, per_packet=3.0).outcome == "holds"


def test_c8_fails_where_it_is_the_other_way_round() -> None:
    assert c8(static=5.0, per_packet=9.9).outcome == "fails"


def test_c8_holds_within_static_mappings_where_the_others_are_cheap_too() -> None:
    found = c8(static=9.9, per_packet=9.9)
    assert found.outcome == "holds-within"
    assert found.holds_where == "where mappings is static"


def test_c8_takes_both_kinds() -> None:
    assert c8(static=9.9, per_packet=None).outcome == "not-enough-data"


# ---- C9


def phases(before: float, during: float, after: float) -> dict[str, float]:
    found = {"": before, "_migrating": during, "_after": after}
    cycles = {f"guest_cycles_per_packet{phase}": value for phase, value in found.items()}
    return {**cycles, **{f"host_cycles_per_packet{phase}": 0.0 for phase in found}}


FREE = phases(100, 100, 100)


def test_c9_holds_where_cycles_are_spent_before_and_after() -> None:
    found = verdict("C9", made_up("iommu", **phases(150, 160, 150)), made_up("untracked", **FREE))
    assert found.outcome == "holds"
    assert "more cycles before 50 %" in found.text


def test_c9_fails_where_they_are_spent_during_the_migration_only() -> None:
    found = verdict("C9", made_up("iommu", **phases(100, 160, 100)), made_up("untracked", **FREE))
    assert found.outcome == "fails"


def test_c9_turns_with_when_tracking_is_armed() -> None:
    found = verdict(
        "C9",
        made_up("iommu", **phases(150, 160, 150)),
        made_up("iommu", **phases(100, 160, 100), tracks_always=False),
        made_up("untracked", **FREE),
    )
    assert found.outcome == "holds-within"
    assert found.holds_where == "where tracks always is true"


def test_c9_learns_nothing_where_there_is_no_cost() -> None:
    found = verdict("C9", made_up("iommu", **phases(101, 101, 101)), made_up("untracked", **FREE))
    assert found.outcome == "not-enough-data"


# ---- C10


def c10(*gbps: float) -> Verdict:
    more = {"latency_p50_us": 9.0, "host_cycles_per_packet": 3000.0}
    free = {"latency_p50_us": 5.0, "host_cycles_per_packet": 40.0}
    runs = []
    for number, each in enumerate(gbps):
        frame = 64 << number
        runs += [
            made_up("copied", gbps=each, workload__frame_bytes=frame, **more),
            made_up("untracked", gbps=10.0, workload__frame_bytes=frame, **free),
        ]
    return verdict("C10", *runs)


def test_c10_holds_where_the_copied_way_fills_the_link() -> None:
    found = c10(10.0, 9.95)
    assert found.outcome == "holds"
    assert "up to 3,000 host cycles per packet (the VF 40)" in found.text


def test_c10_fails_where_it_never_does() -> None:
    assert c10(5.0, 7.0).outcome == "fails"


def test_c10_turns_at_a_frame_size() -> None:
    found = c10(3.0, 5.0, 10.0)
    assert found.outcome == "holds-within"
    assert found.holds_where == "where workload.frame is from 256B"


def test_c10_asks_only_what_was_offered_line_rate() -> None:
    runs = [made_up(kind, gbps=1.0, workload__rate_bps=10**9) for kind in ("copied", "untracked")]
    assert verdict("C10", *runs).outcome == "not-enough-data"


def test_c10_says_where_the_vf_falls_short_as_well() -> None:
    more = {"latency_p50_us": 9.0, "host_cycles_per_packet": 3000.0}
    free = {"latency_p50_us": 5.0, "host_cycles_per_packet": 40.0}
    runs = [made_up("copied", gbps=8.0, **more), made_up("untracked", gbps=9.0, **free)]
    assert (
        "Of the 1 cells in which it falls short, the VF falls short in 1 as well"
        in verdict("C10", *runs).text
    )


# ---- C11


def timeline(experiment: str, lost: int) -> Rows:
    """1000 packets of 1250 bytes per 10 ms; ``lost`` of them during the migration."""
    return [
        {
            "experiment": experiment,
            "interval": number,
            "phase": phase,
            "length_ms": 10.0,
            "packets_offered": 1000,
            "packets_delivered": 1000 - gone,
            "gbps": (1000 - gone) * 1250 * 8 / 10e6,
        }
        for number, (phase, gone) in enumerate([("steady", 0), ("migrating", lost), ("after", 0)])
    ]


def c11(*losses: tuple[int, int]) -> Verdict:
    runs, rows = [], []
    for number, (kept, given_up) in enumerate(losses):
        for kind, lost in (("stores", kept), ("given-up", given_up)):
            made = made_up(kind, guest__memory_bytes=1 << (28 + number))
            runs.append(made)
            rows += timeline(made[0]["experiment"], lost)
    return verdict("C11", *runs, intervals=intervals_frame(rows))


def test_c11_holds_where_keeping_the_vf_delivers_more() -> None:
    found = c11((8, 80))
    assert found.outcome == "holds"
    assert "not delivered with the VF kept 0.01 MB" in found.text.lower().replace("vf", "VF").replace(
        "mb", "MB"
    )


def test_c11_fails_where_giving_it_up_delivers_more() -> None:
    assert c11((80, 8)).outcome == "fails"


def test_c11_turns_with_the_guests_memory() -> None:
    found = c11((80, 8), (8, 80))
    assert found.outcome == "holds-within"
    assert found.holds_where == "where guest.memory is 512MiB"


def test_c11_leaves_out_migrations_that_never_complete() -> None:
    kept = made_up("stores", state="not-converged")
    found = verdict("C11", kept, made_up("given-up"), intervals=intervals_frame(timeline("x", 1)))
    assert found.outcome == "not-enough-data"


def test_c11_tells_of_work_that_only_the_vf_given_up_completes() -> None:
    stuck = made_up("stores", state="not-converged", guest__memory_bytes=1 << 29)
    runs = [made_up("stores"), made_up("given-up"), stuck, made_up("given-up", guest__memory_bytes=1 << 29)]
    rows = timeline(runs[0][0]["experiment"], 8) + timeline(runs[1][0]["experiment"], 80)
    found = verdict("C11", *runs, intervals=intervals_frame(rows))
    assert "In 1 more cells only the VF given up ever completed its migration" in found.text


# ---- C12


def test_c12_holds_where_every_gap_is_short() -> None:
    assert verdict("C12", made_up("stores", seeds=2, service_gap_ms=[20.0, 499.0])).outcome == "holds"


def test_c12_fails_where_one_repeat_of_each_cell_is_too_long() -> None:
    assert verdict("C12", made_up("stores", seeds=2, service_gap_ms=[20.0, 501.0])).outcome == "fails"


def test_c12_turns_with_the_way_of_the_packets() -> None:
    found = verdict("C12", made_up("stores", service_gap_ms=20.0), made_up("copied", service_gap_ms=600.0))
    assert found.outcome == "holds-within"
    assert found.fails_where == "where datapath migrating is virtio"


def test_c12_counts_migrations_that_never_completed() -> None:
    found = verdict("C12", made_up("stores", service_gap_ms=20.0), made_up("iommu", state="not-converged"))
    assert "In 1 more cells the migration never completed" in found.text
