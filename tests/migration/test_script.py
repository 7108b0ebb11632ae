"""The script of a migration: what comes out of order is one clear line before anything happens, on every testbed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.fakes import OnVf

from strategies import ALL_STRATEGIES, DummyWrite, StandbyFailover
from vfbench.errors import RunFailed
from vfbench.migration.script import carry_out
from vfbench.strategy import STOP_ORDERS, Strategy, stop_and_copy


@dataclass
class Verbs:
    """A testbed that only writes down what it is told."""

    called: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: self.called.append(name)


def whole(migration: Any) -> None:
    migration.pre_copy()
    stop_and_copy(migration, "device-first")
    migration.transfer_vf_state()
    migration.restore_rings()
    migration.resume()


def resume_then_pre_copy(migration: Any) -> None:
    whole(migration)
    migration.pre_copy()


def twice(migration: Any) -> None:
    whole(migration)
    whole(migration)


def without_resume(migration: Any) -> None:
    migration.pre_copy()
    stop_and_copy(migration, "device-first")


def nothing(migration: Any) -> None:
    pass


def plug_without_a_vf(migration: Any) -> None:
    whole(migration)
    migration.plug_vf()


def copy_while_it_runs(migration: Any) -> None:
    migration.pre_copy()
    migration.copy_rest()


def drain_a_running_device(migration: Any) -> None:
    migration.pre_copy()
    migration.drain()


def state_before_the_rest(migration: Any) -> None:
    migration.pre_copy()
    migration.notify_driver()
    migration.stop_device()
    migration.transfer_vf_state()


def forgotten_state(migration: Any) -> None:
    migration.pre_copy()
    stop_and_copy(migration, "device-first")
    migration.resume()


def disarm_first(migration: Any) -> None:
    migration.disarm_tracking()


def unplug_without_standby(migration: Any) -> None:
    migration.unplug_vf()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (resume_then_pre_copy, "pre_copy() can't be carried out: it comes after pre_copy()"),
        (twice, "pre_copy() can't be carried out: it comes after pre_copy()"),
        (without_resume, "resume() is missing: the guest runs nowhere"),
        (nothing, "migrate() calls no verb"),
        (plug_without_a_vf, "plug_vf() can't be carried out: the VF is plugged in already"),
        (copy_while_it_runs, "copy_rest() can't be carried out: it comes before pause_guest()"),
        (drain_a_running_device, "drain() can't be carried out: it comes before stop_device()"),
        (state_before_the_rest, "transfer_vf_state() can't be carried out: it comes before copy_rest()"),
        (forgotten_state, "resume() can't be carried out: the VF's state was not transferred"),
        (disarm_first, "disarm_tracking() can't be carried out: tracking was not armed"),
        (unplug_without_standby, "unplug_vf() can't be carried out: there is no virtio-net to fail over to"),
    ],
)
def test_a_script_out_of_order_is_a_failed_run_that_says_so(
    script: Callable[[Any], None], complaint: str
) -> None:
    made = type("Made", (OnVf,), {"name": "made", "migrate": lambda _self, migration: script(migration)})()
    verbs = Verbs()
    with pytest.raises(RunFailed) as failure:
        carry_out(made, verbs)  # type: ignore[arg-type]
    assert complaint in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_refused_verb_never_reaches_the_testbed() -> None:
    made = type("Made", (OnVf,), {"name": "made", "migrate": lambda _self, m: copy_while_it_runs(m)})()
    verbs = Verbs()
    with pytest.raises(RunFailed):
        carry_out(made, verbs)  # type: ignore[arg-type]
    assert verbs.called == ["pre_copy"]


def test_a_misspelt_stop_order_is_named() -> None:
    with pytest.raises(ValueError, match="'device-frist' is no stop order; there are device-first"):
        stop_and_copy(Verbs(), "device-frist")  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", [each() for each in ALL_STRATEGIES], ids=lambda each: each.name)
def test_every_shipped_script_is_in_order(strategy: Strategy) -> None:
    verbs = Verbs()
    carry_out(strategy, verbs)  # type: ignore[arg-type]
    assert "resume" in verbs.called


@pytest.mark.parametrize("order", STOP_ORDERS)
def test_the_faults_of_the_stop_stay_legal(order: str) -> None:
    verbs = Verbs()
    carry_out(DummyWrite(stop_order=order), verbs)  # type: ignore[arg-type]
    assert verbs.called[-1] == "resume"


def test_a_fallback_ends_with_a_vf() -> None:
    verbs = Verbs()
    carry_out(StandbyFailover(), verbs)  # type: ignore[arg-type]
    assert (verbs.called[0], verbs.called[-1]) == ("unplug_vf", "plug_vf")
