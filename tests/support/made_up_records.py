"""Frames as `vfbench.records` reads them, of runs that never happened: each says only what a test is about."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from vfbench.records.read import _PANDAS_TYPES, _frame
from vfbench.records.schema import INTERVALS, ROUNDS, RUNS, TRAITS, Column
from vfbench.verdicts import Verdict, chosen_claims, evaluate

Rows = list[dict[str, Any]]

TRAITS_OF: dict[str, dict[str, Any]] = {
    "untracked": {"dma_visible_by": "none"},
    "stores": {"dma_visible_by": "guest-store"},
    "iommu": {
        "dma_visible_by": "iommu",
        "guest_iommu": True,
        "mapping": "strict",
        "exit_class": "kernel",
        "entries_per_call": 1,
        "tracks_always": True,
        "skip_mapped": True,
    },
    "copied": {
        "datapath": "virtio",
        "datapath_migrating": "virtio",
        "dma_visible_by": "host-copy",
        "stop_order": "guest-first",
    },
    "given-up": {"datapath_migrating": "virtio", "dma_visible_by": "host-copy", "stop_order": "guest-first"},
    # what looks like one of these and is not
    "fenced": {"dma_visible_by": "guest-store", "traits": '{"fenced": true}'},
    "dma-api": {"dma_visible_by": "dma-api"},
    "bounced": {"dma_visible_by": "cpu-copy", "traits": '{"bounced": "always"}'},
    "device-log": {"dma_visible_by": "device-log"},
    "no-exits": {
        "dma_visible_by": "shared-table",
        "guest_iommu": True,
        "mapping": "strict",
        "tracks_always": True,
        "traits": '{"mappings_told_by": "shared-table"}',
    },
    "bits-behind-an-iommu": {
        "dma_visible_by": "iommu-bits",
        "guest_iommu": True,
        "mapping": "strict",
        "exit_class": "user-space",
        "entries_per_call": 1,
        "tracks_always": True,
        "traits": '{"mappings_told_by": "exit"}',
    },
    "relayed": {"datapath": "virtio", "datapath_migrating": "virtio", "dma_visible_by": "relay"},
}
"""What strategies of each kind declare, over `DECLARED`."""

DECLARED: dict[str, Any] = {
    "datapath": "vf",
    "datapath_migrating": "vf",
    "dma_visible_by": "none",
    "guest_iommu": False,
    "mapping": "none",
    "exit_class": "none",
    "entries_per_call": 0,
    "tracks_always": False,
    "skip_mapped": False,
    "stop_order": "device-first",
    "faults": "",
}
SETTINGS: dict[str, Any] = {
    "workload.rate_bps": 0,
    "workload.frame_bytes": 1518,
    "workload.send_ratio": 0.0,
    "guest.queues": 1,
    "guest.memory_bytes": 1 << 28,
    "link.rate_bps": 10**10,
    "driver.rx_ring": 512,
    "driver.page_reuse": "flip",
    "device.interrupt_interval_ns": 50_000,
    "migration.downtime_limit_ns": 300_000_000,
}
WHOLE = {
    "pages_compared": 8000,
    "stale_pages_payload": 0,
    "stale_pages_descriptor": 0,
    "stale_pages_other": 0,
    "packets_corrupted": 0,
    "packets_phantom": 0,
    "packets_sent_corrupted": 0,
}
DAMAGED = {**WHOLE, "stale_pages_payload": 40, "packets_corrupted": 3}

_numbers = itertools.count()


def made_up(kind: str, *, seeds: int = 1, **given: Any) -> list[dict[str, Any]]:
    """Runs of a strategy of one kind. Keys with `__` are settings: `driver__page_reuse="none"`.

    A list is a value for each repeat.
    """
    rows = []
    for seed in range(seeds):
        row = {
            "strategy": f"some-{kind}",
            "workload": "some-work",
            "testbed": "model",
            "profile": "made-up",
            "profile_digest": "0123456789",
            "experiment": f"{kind}-{next(_numbers)}",
            "seed": seed,
            "state": "ok",
            **DECLARED,
            **TRAITS_OF[kind],
            **SETTINGS,
        }
        for name, value in given.items():
            row[name.replace("__", ".")] = value[seed] if isinstance(value, list) else value
        # As records have it: every word, those with a column of their own as well.
        more = json.loads(str(row.get("traits", "{}")))
        row["traits"] = json.dumps({name: row[name] for name in DECLARED} | more, sort_keys=True)
        rows.append(row)
    return rows


def runs_frame(*groups: Sequence[dict[str, Any]]) -> pandas.DataFrame:
    rows = [row for group in groups for row in group]
    parameters = dict.fromkeys(name for row in rows for name in row if name.startswith("strategy."))
    return _frame(rows, RUNS, [*SETTINGS, *parameters])


def rounds_frame(dirty_dma: Mapping[str, Sequence[int | None]], **more: Any) -> pandas.DataFrame:
    """By experiment, the device's pages that each sync found; a round lasts 2 ms."""
    rows = [
        {
            "testbed": "model",
            "profile_digest": "0123456789",
            "experiment": experiment,
            "round": number,
            "duration_ms": 2.0,
            "dirty_pages_dma": pages,
            "resent_bytes": 4096 * (pages or 0),
            "held_back_pages": 0,
            **more,
        }
        for experiment, found in dirty_dma.items()
        for number, pages in enumerate(found)
    ]
    return _part(rows, ROUNDS)


def intervals_frame(rows: Sequence[dict[str, Any]] = ()) -> pandas.DataFrame:
    return _part([{"testbed": "model", "profile_digest": "0123456789", **row} for row in rows], INTERVALS)


def _part(rows: list[dict[str, Any]], columns: tuple[Column, ...]) -> pandas.DataFrame:
    identity = tuple(
        each for each in RUNS if each.name in ("testbed", "profile_digest", "experiment", "state")
    )
    known = (*identity, *(each for each in TRAITS), *columns)
    frame = pandas.DataFrame(rows, columns=[column.name for column in known])
    return frame.astype({column.name: _PANDAS_TYPES[column.type] for column in known})


def verdict(
    claim: str,
    *groups: Rows,
    rounds: pandas.DataFrame | None = None,
    intervals: pandas.DataFrame | None = None,
) -> Verdict:
    rounds = rounds_frame({}) if rounds is None else rounds
    intervals = intervals_frame() if intervals is None else intervals
    (found,) = evaluate(runs_frame(*groups), rounds, intervals, chosen_claims([claim]))
    return found
