"""An experiment is frozen, validated, and goes through JSON unharmed."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import STRATEGIES, WORKLOADS, Careful, Careless, Replay, Steady, experiment

from vfbench.errors import UserError
from vfbench.experiment import Device, Driver, Experiment, Guest, Link, Phases, Precopy
from vfbench.options import Options, command_line, experiments
from vfbench.settings import RING_SIZES

PAGES = st.integers(1 << 15, 1 << 30)
NANOSECONDS = st.integers(100_000, 10**9)

EXPERIMENTS = st.builds(
    Experiment,
    strategy=st.builds(
        Careful,
        touched_bytes=st.integers(1, 64),
        atomic=st.booleans(),
        mode=st.sampled_from(["strict", "deferred"]),
    )
    | st.builds(Careless),
    workload=st.builds(
        Steady, rate_bps=st.integers(0, 10**11), skew=st.floats(0, 2), send_ratio=st.floats(0, 1)
    ),
    guest=st.builds(
        Guest,
        memory_bytes=PAGES.map(lambda pages: pages * 4096),
        queues=st.integers(1, 16),
        dirty_log=st.just("pml"),
    ),
    link=st.builds(Link, rate_bps=st.integers(10**6, 10**11)),
    driver=st.builds(Driver, rx_ring=st.sampled_from(RING_SIZES), refill_batch=st.integers(1, 63)),
    device=st.builds(Device, writeback_batch=st.integers(1, 32)),
    migration=st.builds(
        Precopy,
        bandwidth_bps=st.integers(10**6, 10**9),
        line_rate_bps=st.integers(10**9, 10**12),
        downtime_limit_ns=NANOSECONDS,
    ),
    phases=st.builds(Phases, steady_ns=NANOSECONDS, packets=st.integers(0, 10**12)),
    seed=st.integers(0, 2**32 - 1),
)


@given(EXPERIMENTS)
def test_an_experiment_comes_back_from_json_as_it_was(made: Experiment) -> None:
    text = json.dumps(made.to_json())
    again = Experiment.from_json(json.loads(text), STRATEGIES, WORKLOADS)
    assert again == made
    assert again.digest == made.digest


@given(EXPERIMENTS)
def test_the_command_line_repeats_the_experiment(made: Experiment) -> None:
    words = shlex.split(command_line(made))
    settings = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    options = Options([made.strategy.name], made.workload.name, settings, seed=made.seed)
    assert experiments(options, STRATEGIES, WORKLOADS) == [made]


@given(EXPERIMENTS, EXPERIMENTS)
def test_two_experiments_share_a_digest_only_if_they_are_equal(one: Experiment, other: Experiment) -> None:
    assert (one.digest == other.digest) == (one == other)


@given(EXPERIMENTS)
def test_a_name_is_fit_for_a_file(made: Experiment) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.=+_-]*", made.name)


def test_json_leaves_out_no_field() -> None:
    document = experiment().to_json()
    assert list(document) == [field.name for field in dataclasses.fields(Experiment)]
    assert document["guest"] == dataclasses.asdict(Guest())


def test_a_name_tells_what_differs_from_the_default() -> None:
    made = experiment(
        strategy=Careful(mode="deferred"),
        guest=Guest(memory_bytes=4 << 30),
        migration=Precopy(bandwidth_bps=128 * 8 << 20),
    )
    assert made.name == "careful_steady_mode=deferred_guest.memory=4GiB_migration.bandwidth=128MiB-s"


def test_a_name_holds_no_folder_of_this_machine() -> None:
    made = experiment(workload=Replay(capture="/some/where/real.pcap"))
    assert made.name == "careful_replay_capture=real.pcap"


def test_the_digest_does_not_depend_on_process_or_order() -> None:
    assert re.fullmatch("[0-9a-f]{12}", experiment().digest)
    assert experiment().digest == experiment().digest
    assert experiment().digest != experiment(seed=2).digest


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"strategy": {"name": "carefull"}}, "no strategy is called 'carefull' - did you mean 'careful'?"),
        ({"workload": {"name": "x"}}, "no workload is called 'x'; there are: steady, replay"),
        ({"workload": 3}, "workload: 3 is no object with a name"),
        ({"strategy": {"name": "careful", "params": {}}}, "strategy: there is no key 'params'"),
        ({"guest": {"memory": 1}}, "guest has no parameter 'memory' - did you mean 'memory_bytes'?"),
        ({"guest": {"memory_bytes": 1}}, "guest.memory: 1B is out of range"),
        ({"guest": 7}, "guest: 7 is no object"),
        ({"link": {"rate_bps": "10Gbps"}}, "link.rate: '10Gbps' is no int"),
        ({"gust": {}}, "an experiment has no part 'gust' - did you mean 'guest'?"),
        ({"seed": -1}, "seed: -1 is no whole number"),
        ({"seed": True}, "seed: True is no whole number"),
        ({"testbed": ""}, "testbed: '' is no name"),
    ],
)
def test_a_document_that_wont_do_is_refused_by_name(change: dict[str, Any], complaint: str) -> None:
    document = {**experiment().to_json(), **change}
    with pytest.raises(UserError) as refused:
        Experiment.from_json(document, STRATEGIES, WORKLOADS)
    assert complaint in str(refused.value)


def test_what_a_document_leaves_out_is_default() -> None:
    document = {"strategy": {"name": "careful"}, "workload": {"name": "steady"}}
    assert Experiment.from_json(document, STRATEGIES, WORKLOADS) == experiment()


def test_a_strategy_that_does_not_check_itself_is_checked() -> None:
    with pytest.raises(UserError, match=r"careful\.mode: 'lazy' is not one of strict \| deferred"):
        experiment(strategy=Careful(mode="lazy"))
