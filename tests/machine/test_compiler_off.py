"""The cross-check: machine code against the Python that it was compiled from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.compiled_or_not import outcome_of
from support.runs import STRATEGIES
from support.workload_frames import new_source

from vfbench.kernels import COMPILED
from vfbench.workload import FRAMES
from workloads import ALL_WORKLOADS

ROOT = Path(__file__).resolve().parents[2]
US_PS = 10**6

pytestmark = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT is set: there is nothing to compare")


def without_compiler(*names):
    """What the program prints where every kernel is plain Python."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "compiled_or_not.py"), *names],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_strategy_measures_the_same_with_and_without_the_compiler():
    names = sorted(STRATEGIES)
    compiled = json.loads(json.dumps({name: outcome_of(name) for name in names}))
    assert all(compiled[name]["measures"]["packets_delivered"] > 5 for name in names)
    assert without_compiler(*names) == compiled


@pytest.mark.parametrize("kind", ALL_WORKLOADS, ids=lambda kind: kind.name)
def test_an_arrivals_kernel_puts_the_same_frames_as_its_own_python(kind):
    found = []
    for arrivals in (kind.arrivals, kind.arrivals.py_func):
        source, kept = new_source(kind(), seed=7)
        batch = np.zeros(1, FRAMES).view(np.recarray)[0]
        with np.errstate(over="ignore"):
            for horizon_ps in (US_PS, 50 * US_PS, 3000 * US_PS):
                arrivals(source, batch, horizon_ps)
        addresses = ("table",)
        for name in addresses:
            source[name] = 0
        found.append((int(batch.count), batch.tobytes(), source.tobytes()))
        assert kept is not None
    assert found[0][0] > 0
    assert found[0] == found[1]
