"""Records of older versions go by the names of today."""

from __future__ import annotations

from pathlib import Path

from vfbench.records import read_records, read_runs
from vfbench.records.renamed import renewed

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def old(**parameters: object) -> dict[str, object]:
    return {"experiment": {"strategy": {"name": "virtio-net", "parameters": parameters}}}


def test_a_fallback_of_old_records_is_a_standby_failover_whose_link_was_not_watched() -> None:
    (strategy,) = [renewed(old(use="fallback", queue_size=64))["experiment"]["strategy"]]
    assert strategy["name"] == "standby-failover"
    assert strategy["parameters"] == {"unplug": "acpi", "link_watch": False, "queue_size": 64}


def test_virtio_net_of_old_records_compares_with_that_of_today() -> None:
    assert renewed(old(use="always", napi_tx=True)) == old(napi_tx=True)


def test_what_changed_no_name_is_left_alone() -> None:
    manifest = old(queue_size=256)
    assert renewed(manifest) is manifest


def test_the_reference_is_read_by_todays_names_in_manifest_and_tables() -> None:
    runs = read_runs(REFERENCE)
    assert "strategy.use" not in runs.columns
    given_up = runs[(runs["datapath"] == "vf") & (runs["datapath_migrating"] == "virtio")]
    assert set(given_up["strategy"]) == {"standby-failover"}
    records = read_records(REFERENCE)
    assert all(each.run["strategy"] == each.manifest["experiment"]["strategy"]["name"] for each in records)
