"""Any experiment that the suite's own strategies and workloads allow: it is itself again after every journey."""

from __future__ import annotations

import json
import re
import shlex

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.runs import MS, STRATEGIES, WORKLOADS, run

from vfbench.errors import UserError
from vfbench.experiment import GROUPS, Device, Driver, Experiment, Guest, Phases, Precopy
from vfbench.options import Options, command_line, experiments
from vfbench.parameters import parameters_of
from vfbench.settings import RING_SIZES
from vfbench.units import LARGEST
from workloads import Bulk, SmallPackets

MIB = 1 << 20
REASONS = ("fifo", "descriptor", "blackout", "reset", "dma", "ring", "socket")


def value_of(known):
    """Any value that a parameter takes by its own declaration."""
    if known.choices is not None:
        return st.sampled_from(known.choices)
    if isinstance(known.default, bool):
        return st.booleans()
    if isinstance(known.default, str):
        return st.just(known.default)
    high = min(LARGEST if known.high is None else known.high, 2**53)
    if isinstance(known.default, float):
        return st.floats(known.low or 0, high)
    step = known.multiple_of or 1
    low = -(-int(known.low or 0) // step)
    return st.integers(low, int(high) // step).map(lambda n: n * step)


@st.composite
def made(draw, owner):
    """An instance with some parameters changed; None where they do not go together."""
    known = parameters_of(owner)
    changes = draw(st.sets(st.sampled_from(known), max_size=3)) if known else set()
    try:
        return owner(**{each.field: draw(value_of(each)) for each in sorted(changes, key=lambda e: e.field)})
    except UserError:
        return owner()


EXPERIMENTS = st.builds(
    Experiment,
    strategy=st.sampled_from(tuple(STRATEGIES.values())).flatmap(made),
    workload=st.sampled_from(tuple(WORKLOADS.values())).flatmap(made),
    seed=st.integers(0, 2**32 - 1),
    **{name: made(group) for name, group in GROUPS.items()},
)
MANY = settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])


@given(EXPERIMENTS)
@MANY
def test_any_experiment_comes_back_from_json_with_the_same_digest(experiment):
    again = Experiment.from_json(json.loads(json.dumps(experiment.to_json())), STRATEGIES, WORKLOADS)
    assert again == experiment
    assert again.digest == experiment.digest


@given(EXPERIMENTS)
@MANY
def test_any_experiments_name_is_fit_for_a_file(experiment):
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.=+_-]*", experiment.name)
    assert experiment.name.startswith(experiment.strategy.name)


@given(EXPERIMENTS)
@MANY
def test_any_experiments_command_line_means_that_experiment(experiment):
    words = shlex.split(command_line(experiment))
    given_settings = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
    options = Options(
        [experiment.strategy.name],
        experiment.workload.name,
        given_settings,
        seed=int(words[words.index("--seed") + 1]),
    )
    assert experiments(options, STRATEGIES, WORKLOADS) == [experiment]


SMALL_PARTS = {
    "guest": st.builds(
        Guest,
        memory_bytes=st.just(256 * MIB),
        packet_memory_bytes=st.sampled_from((4 * MIB, 8 * MIB)),
        queues=st.sampled_from((1, 2)),
        dirty_log=st.sampled_from(("write-protect", "pml")),
    ),
    "driver": st.builds(
        Driver,
        rx_ring=st.sampled_from(RING_SIZES[:2]),
        tx_ring=st.sampled_from(RING_SIZES[:2]),
        rx_mode=st.sampled_from(("build", "copybreak")),
        page_reuse=st.sampled_from(("flip", "none")),
        page_order=st.sampled_from(("lifo", "fifo")),
        refill_batch=st.integers(1, 63),
        poll_budget=st.integers(1, 256),
    ),
    "device": st.builds(
        Device, writeback_batch=st.integers(1, 32), interrupt_interval_ns=st.integers(0, 200_000)
    ),
    "migration": st.builds(
        Precopy,
        bandwidth_bps=st.sampled_from((2 * 10**9, 10**10)),
        downtime_limit_ns=st.sampled_from((5 * MS, 300 * MS)),
        max_rounds=st.just(4),
        vf_state=st.sampled_from(("sysfs", "self-emulated")),
    ),
    "phases": st.just(Phases(warmup_ns=MS, steady_ns=MS, after_ns=2 * MS, interval_ns=MS)),
    "seed": st.integers(0, 2**32 - 1),
}
SMALL_WORKLOADS = st.builds(
    SmallPackets,
    frame_bytes=st.integers(64, 1518),
    rate_bps=st.sampled_from((10**8, 10**9, 4 * 10**9)),
    flows=st.integers(1, 100),
    send_ratio=st.sampled_from((0.0, 0.3, 1.0)),
    hold_ns=st.integers(0, 2 * MS),
)
SOUND = [name for name in STRATEGIES if name != "untracked"]


@given(
    strategy=st.sampled_from(tuple(STRATEGIES)),
    workload=SMALL_WORKLOADS,
    parts=st.fixed_dictionaries(SMALL_PARTS),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[*HealthCheck])
def test_whatever_the_experiment_every_packet_is_accounted_for(strategy, workload, parts):
    outcome = run(STRATEGIES[strategy](), workload, **parts)
    measures = outcome.measures
    assert outcome.state in ("ok", "not-converged")
    kinds = ("delivered", "lost", "corrupted")
    assert measures["packets_offered"] == sum(measures[f"packets_{kind}"] for kind in kinds)
    assert measures["packets_lost"] == sum(measures[f"packets_lost_{reason}"] for reason in REASONS)
    assert measures["packets_sent"] >= measures["packets_sent_lost"] >= 0
    assert measures["dma_faults"] == measures["packets_lost_dma"] == 0
    if strategy in SOUND:
        damage = ("corrupted", "phantom", "duplicated", "sent_corrupted")
        assert {name: measures[f"packets_{name}"] for name in damage} == dict.fromkeys(damage, 0)


@given(
    strategy=st.sampled_from(SOUND),
    rate_bps=st.sampled_from((10**8, 10**9, 10**10)),
    parts=st.fixed_dictionaries(SMALL_PARTS),
)
@settings(max_examples=8, deadline=None, suppress_health_check=[*HealthCheck])
def test_whatever_the_experiment_a_sound_strategy_leaves_no_page_stale(strategy, rate_bps, parts):
    outcome = run(STRATEGIES[strategy](), Bulk(rate_bps=rate_bps), **parts)
    if outcome.state == "ok":
        kinds = ("payload", "descriptor", "other")
        assert [outcome.measures[f"stale_pages_{kind}"] for kind in kinds] == [0, 0, 0]
        assert outcome.measures["pages_compared"] > 0
    else:
        assert outcome.state == "not-converged"
