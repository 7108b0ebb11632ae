"""What strategies declare of themselves, and that records say it: verdicts ask for nothing else."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fakes import Figures, experiment, outcome

from strategies import (
    ALL_STRATEGIES,
    DummyWrite,
    EmulatedIommu,
    StandbyFailover,
    Untracked,
    VirtioNet,
)
from vfbench.parameters import parameters_of
from vfbench.records import TRAITS, ResultSet, read_rounds, read_runs
from vfbench.strategy import Strategy, faults_of, recorded_traits


def written(folder: Path, strategy: Strategy) -> Path:
    made = experiment(strategy=strategy)
    ResultSet(folder).write(made, outcome(), Figures(), started=datetime.now(UTC), command="bench run")
    return folder


@pytest.mark.parametrize("strategy", ALL_STRATEGIES)
def test_every_strategy_declares_every_trait_and_its_record_says_so(
    strategy: type[Strategy], tmp_path: Path
) -> None:
    runs = read_runs(written(tmp_path, strategy()))
    assert runs[[column.name for column in TRAITS]].notna().all(axis=None)


def test_traits_stand_beside_the_rounds_too(tmp_path: Path) -> None:
    assert set(read_rounds(written(tmp_path, DummyWrite()))["dma_visible_by"]) == {"guest-store"}


@pytest.mark.parametrize(
    ("strategy", "how"),
    [
        (Untracked(), "none"),
        (DummyWrite(), "guest-store"),
        (EmulatedIommu(), "iommu"),
        (VirtioNet(), "host-copy"),
        (StandbyFailover(), "host-copy"),
    ],
)
def test_each_strategy_makes_dma_visible_in_its_own_way(strategy: Strategy, how: str) -> None:
    assert recorded_traits(strategy).get("dma_visible_by", "none") == how


def test_a_fallback_uses_the_vf_but_not_while_memory_is_copied(tmp_path: Path) -> None:
    (row,) = read_runs(written(tmp_path, StandbyFailover())).to_dict("records")
    assert (row["datapath"], row["datapath_migrating"]) == ("vf", "virtio")


@pytest.mark.parametrize(
    ("strategy", "faults"),
    [
        (DummyWrite(), ()),
        (DummyWrite(stop_order="device-last"), (1,)),
        (DummyWrite(when="given"), (2,)),
        (DummyWrite(stop_order="undrained"), (3,)),
        (DummyWrite(stop_order="guest-first", ahead=True), (4, 7)),
        (DummyWrite(ahead=True, atomic=True), ()),
        (EmulatedIommu(unmap_early=True), (5,)),
        (EmulatedIommu(late_maps=False, tracking="migrating"), (6,)),
        (EmulatedIommu(late_maps=False), ()),
    ],
)
def test_a_strategy_declares_the_faults_that_its_parameters_switch_on(
    strategy: Strategy, faults: tuple[int, ...]
) -> None:
    assert faults_of(strategy) == faults


@pytest.mark.parametrize("kind", ALL_STRATEGIES, ids=lambda each: each.name)
def test_a_strategy_is_a_file_that_reads_as_its_paragraph(kind: type[Strategy]) -> None:
    lines = Path(inspect.getfile(kind)).read_text(encoding="utf-8").splitlines()
    assert 30 <= len(lines) <= 70


def test_the_order_of_the_stop_is_recorded_and_its_help_says_which_fault_it_is() -> None:
    assert recorded_traits(DummyWrite(stop_order="undrained"))["stop_order"] == "undrained"
    (order,) = [each for each in parameters_of(DummyWrite) if each.field == "stop_order"]
    assert order.help.endswith("undrained is fault 3, guest-first is fault 4, device-last is fault 1")
