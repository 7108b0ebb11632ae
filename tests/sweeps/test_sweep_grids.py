"""Grid files: what they may say, the cells they make, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import fakes
from support.runs import STRATEGIES, WORKLOADS

from vfbench.errors import UserError
from vfbench.sweeps.cells import Cell, cells_of, matching
from vfbench.sweeps.grid import read_grids

ONE = """
[[grid]]
name = "one"
strategies = ["careful", "careless"]
workloads = ["steady"]
"""


def cells(tmp_path: Path, text: str) -> list[Cell]:
    path = tmp_path / "a.toml"
    path.write_text(text)
    return cells_of(read_grids(path), fakes.STRATEGIES, fakes.WORKLOADS)


def test_a_grid_is_the_product_of_its_lists_and_strategies_take_turns(tmp_path: Path) -> None:
    text = ONE + 'seeds = [3, 4]\n[grid.axes]\n"workload.frame" = ["64B", "128B"]\n"guest.queues" = [1, 2]'
    found = [cell.experiment for cell in cells(tmp_path, text)]
    assert len(found) == 2 * 2 * 2 * 2
    assert [(each.strategy.name, each.seed) for each in found[:3]] == [
        ("careful", 3),
        ("careless", 3),
        ("careful", 3),
    ]
    assert {(each.guest.queues, each.workload.frame_bytes) for each in found} == {  # type: ignore[attr-defined]
        (1, 64),
        (1, 128),
        (2, 64),
        (2, 128),
    }


def test_a_strategys_parameter_leaves_the_other_strategies_with_one_cell(tmp_path: Path) -> None:
    found = cells(tmp_path, ONE + '[grid.axes]\n"careful.mode" = ["strict", "deferred"]')
    assert [(cell.experiment.strategy.name, cell.experiment.settings()) for cell in found] == [
        ("careful", {}),
        ("careless", {}),
        ("careful", {"careful.mode": "deferred"}),
    ]


def test_equal_cells_of_several_grids_are_run_once(tmp_path: Path) -> None:
    (first, *_), every = cells(tmp_path, ONE), cells(tmp_path, ONE + ONE.replace('"one"', '"two"'))
    assert len(every) == 2
    assert every[0].grids == ("one", "two")
    assert every[0].digest == first.digest


def test_variants_set_several_parameters_together(tmp_path: Path) -> None:
    variants = 'variants = [{ "guest.queues" = 2, "driver.rx-ring" = 64 }, { "guest.memory" = "2GiB" }]'
    found = cells(tmp_path, ONE.replace('"careful", ', "") + variants)
    assert [cell.experiment.settings() for cell in found] == [
        {"guest.queues": "2", "driver.rx-ring": "64"},
        {"guest.memory": "2GiB"},
    ]


def test_defaults_hold_for_every_grid_that_says_nothing_else(tmp_path: Path) -> None:
    defaults = '[defaults]\nrepeats = 2\nset = { "guest.queues" = 2, "guest.memory" = "2GiB" }\n'
    found = cells(tmp_path, defaults + ONE + 'set = { "guest.queues" = 4 }')
    assert len(found) == 4
    assert found[0].experiment.settings() == {"guest.queues": "4", "guest.memory": "2GiB"}


def test_a_filter_is_a_glob_over_labels(tmp_path: Path) -> None:
    every = cells(tmp_path, ONE + "repeats = 2")
    assert [cell.label for cell in matching(every, ["one/careless*-s2"])] == ["one/careless_steady-s2"]
    assert matching(every, ["careless*"]) == []
    assert matching(every, []) == every


def test_a_filter_finds_the_cells_of_a_group_that_grids_share(tmp_path: Path) -> None:
    two = ONE.replace('"one"', '"two"').replace('"careful", ', "") + 'seeds = [7]\ngroups = ["c2", "c3"]\n'
    every = cells(tmp_path, ONE + 'groups = ["c2"]\n' + two)
    assert [len(matching(every, [glob])) for glob in ("one/*", "c2/*", "c3/*", "two/*")] == [2, 3, 1, 1]


BAD = [
    (ONE + "groups = 1", "groups: 1 is no list of names"),
    ("", "there is no grid"),
    ("grid = 1", "there is no grid"),
    ("[[grid]", "not TOML"),
    ("[[gird]]", "there is no key 'gird' - did you mean 'grid'?"),
    ("[[grid]]", "grid 1: its name is None"),
    ('[[grid]]\nname = "a/b"', "its name is 'a/b'"),
    (ONE + ONE, "2 grids are called 'one'"),
    (ONE + "seed = [1]", "grid 'one': there is no key 'seed' - did you mean 'seeds'?"),
    (ONE + "seeds = [true]", "seeds: [True] is no list of whole numbers"),
    (ONE + "seeds = []", "seeds: [] is no list of whole numbers"),
    (ONE + "seeds = [-1]", "grid 'one': seed: -1 is no whole number"),
    (ONE + "seeds = [1]\nrepeats = 2", "seeds and repeats are both given"),
    (ONE + "repeats = 0", "repeats: 0 is no whole number from 1"),
    (ONE + 'time-limit = "0s"', "leaves no time to run"),
    (ONE + "time-limit = 5", "time-limit: 5 is no text"),
    (ONE + 'time-limit = "5 parsec"', "time-limit: '5 parsec' is no time"),
    (ONE.replace('"careless"', '"careles"'), "grid 'one': no strategy is called 'careles' - did you mean"),
    (ONE.replace('["steady"]', '"steady"'), "workloads: 'steady' is no list of names"),
    (ONE.replace("workloads", "workload"), "there is no key 'workload' - did you mean 'workloads'?"),
    (ONE + 'set = { "memory" = 1 }', "'memory' is no NAME.PARAM"),
    (ONE + "set = { guest.memory = 1 }", 'put a name with a dot in quotes: "guest.memory"'),
    (ONE + 'set = { "gest.memory" = 1 }', "nothing in it is called 'gest' - did you mean 'guest'?"),
    (ONE + 'set = { "guest.memori" = "1GiB" }', "guest has no parameter 'memori'"),
    (ONE + 'set = { "replay.capture" = "a" }', "nothing in it is called 'replay'"),
    (ONE + 'set = { "strategy.mode" = "strict" }', "careless has no parameter 'mode'"),
    (ONE + 'set = { "guest.memory" = [1] }', "set: guest.memory: [1] is no text, number, true or false"),
    (ONE + 'axes = { "guest.memory" = "1GiB" }', "'1GiB' is no list of values"),
    (ONE + 'axes = { "guest.memory" = [] }', "[] is no list of values"),
    (ONE + 'axes = { "guest.queues" = [1, 99] }', "grid 'one': guest.queues: 99 is out of range"),
    (
        ONE + 'set = { "guest.queues" = 1 }\naxes = { "guest.queues" = [2] }',
        "guest.queues is set twice: to '1' and to '2'",
    ),
    (ONE + "variants = []", "variants: [] is no list of tables"),
    (ONE + f'seeds = {list(range(2000))}\naxes = {{ "guest.queues" = {[1] * 30} }}', "over 100,000 cells"),
    (ONE + 'preset = "xen"', "no preset is called 'xen'"),
]


@pytest.mark.parametrize(("text", "complaint"), BAD)
def test_a_broken_file_is_refused_with_one_line_that_says_where(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(UserError) as refused:
        cells(tmp_path, text)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml: cannot be read \(No such file"):
        read_grids(tmp_path / "none.toml")


SHIPPED = Path(__file__).resolve().parents[2] / "sweeps"


def test_the_quick_sweep_has_every_strategy() -> None:
    found = cells_of(read_grids(SHIPPED / "quick.toml"), STRATEGIES, WORKLOADS)
    assert {cell.experiment.strategy.name for cell in found} == set(STRATEGIES)


def test_the_sweep_for_the_argument_has_cells_for_each_of_the_twelve_claims() -> None:
    found = cells_of(read_grids(SHIPPED / "argument.toml"), STRATEGIES, WORKLOADS)
    assert {group for cell in found for group in cell.groups} == {f"c{number}" for number in range(1, 13)}


@pytest.mark.parametrize("key", ["testbed", "profile"])
def test_a_testbed_or_profile_that_there_is_not_is_refused_with_its_grid(tmp_path: Path, key: str) -> None:
    text = f'[[grid]]\nname = "mine"\nstrategies = ["all"]\nworkloads = ["all"]\n{key} = "xen"\n'
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(UserError, match=f"^grid 'mine': no {key} .*'xen'"):
        cells_of(read_grids(tmp_path / "grid.toml"), STRATEGIES, WORKLOADS)
