"""A few hundred of the mutated inputs; `tests/hostile_inputs.py` runs as many as one likes."""

from __future__ import annotations

import pytest
from hostile_inputs import KINDS, many


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_inputs_are_read_or_refused_in_a_line(kind: str) -> None:
    found = many(kind, 0, 40 if kind in ("profiles", "records") else 150)
    assert found["refused"] > 0
