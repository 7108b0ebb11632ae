"""Distributions as tables of integers, the same bits on every machine.

The mathematical library's powers differ between machines in their last bit, and one bit decides where a
table entry is rounded to. IEEE 754 fixes the result of +, -, x and / alone, so powers are made of those
here. Kernels then draw from the tables with integers only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_word
from vfbench.workload import next_random

CELL_BITS = 14
CELLS = 1 << CELL_BITS
ONE_BITS = 16
ONE = 1 << ONE_BITS
"""Table values are in units of 1/65536."""

PARETO_CELL_BITS = 10
PARETO_CELLS = 1 << PARETO_CELL_BITS
RANDOM_BITS = 31

_LN_2 = float.fromhex("0x1.62e42fefa39efp-1")
_Floats = NDArray[np.float64]


def power(base: _Floats, exponent: float) -> _Floats:
    """``base ** exponent`` for positive bases, to about 14 digits, in IEEE 754's basic operations only."""
    return _exp(_log(base) * exponent)


def _log(x: _Floats) -> _Floats:
    """2 artanh((m - 1) / (m + 1)) for the mantissa m in (0.7, 1.5), by its series."""
    mantissa, scale = np.frexp(x)
    small = mantissa < 0.75
    mantissa, scale = np.where(small, mantissa * 2, mantissa), np.where(small, scale - 1, scale)
    ratio = (mantissa - 1) / (mantissa + 1)
    squared = ratio * ratio
    total = np.zeros_like(ratio)
    for odd in range(27, 0, -2):
        total = total * squared + 1 / odd
    logarithm: _Floats = 2 * ratio * total + scale * _LN_2
    return logarithm


def _exp(x: _Floats) -> _Floats:
    """2**n times the series of exp over what is left, at most ln(2) / 2."""
    whole = np.rint(x / _LN_2)
    rest = x - whole * _LN_2
    total = np.ones_like(rest)
    for divisor in range(20, 0, -1):
        total = 1 + rest * total / divisor
    scaled: _Floats = np.ldexp(total, whole.astype(np.int32))
    return scaled


def zipf_table(keys: int, exponent: float) -> NDArray[np.int64]:
    """The inverse distribution of ranks 0 .. keys - 1, rank r drawn in proportion to (r + 1) ** -exponent.

    Entry i of CELLS + 1 is the rank below which a share i / CELLS falls, in 1/65536; between entries it is a
    straight line. So shares are right to 1 / CELLS, and within the last cell all ranks are alike.
    """
    weights = power(np.arange(1, keys + 1, dtype=np.float64), -exponent)
    edges = np.concatenate([np.zeros(1), np.cumsum(weights)])
    wanted = np.arange(CELLS, dtype=np.float64) / CELLS * edges[-1]
    rank = np.searchsorted(edges, wanted, side="right") - 1
    within = (wanted - edges[rank]) / weights[rank]
    table = np.rint((rank + within) * ONE).astype(np.int64)
    return np.append(table, np.int64(keys * ONE))


@kernel
def draw_rank(source: Any, table: int) -> int:
    """A rank from the ``zipf_table`` at address ``table``."""
    drawn = next_random(source)
    cell = drawn >> (RANDOM_BITS - CELL_BITS)
    fraction = drawn & ((1 << (RANDOM_BITS - CELL_BITS)) - 1)
    low = load_word(table, cell)
    step = load_word(table, cell + 1) - low
    return (low + (step * fraction >> (RANDOM_BITS - CELL_BITS))) >> ONE_BITS


def pareto_table(shape: float) -> NDArray[np.int64]:
    """Quantiles of a Pareto distribution with minimum 1, in 1/65536; entry i is that of i / PARETO_CELLS.

    The last entry is where the last cell begins. What lies beyond is the same distribution again, that much
    larger, so a draw that falls there draws once more; falling there twice gives the largest value.
    """
    left = 1 - np.arange(PARETO_CELLS, dtype=np.float64) / PARETO_CELLS
    return np.rint(power(left, -1 / shape) * ONE).astype(np.int64)


def pareto_mean(table: NDArray[np.int64]) -> float:
    """The mean of what ``draw_pareto`` draws from ``table``, in units of the minimum."""
    last = int(table[-1])
    body = (int(table[:-1].sum()) + int(table[1:].sum())) / 2 / PARETO_CELLS / ONE
    tail = last / ONE
    return body + (body + tail / PARETO_CELLS) * tail / PARETO_CELLS


@kernel
def draw_body(source: Any, table: int) -> int:
    """A value below the last entry, or the last entry itself for the last cell."""
    drawn = next_random(source)
    cell = drawn >> (RANDOM_BITS - PARETO_CELL_BITS)
    low = load_word(table, cell)
    if cell == PARETO_CELLS - 1:
        return low
    fraction = drawn & ((1 << (RANDOM_BITS - PARETO_CELL_BITS)) - 1)
    step = load_word(table, cell + 1) - low
    return low + (step * fraction >> (RANDOM_BITS - PARETO_CELL_BITS))


@kernel
def draw_pareto(source: Any, table: int) -> int:
    """A value from ``pareto_table`` at ``table``, in 1/65536 of the minimum; below 2**34 from shape 1.2."""
    last = load_word(table, PARETO_CELLS - 1)
    value = draw_body(source, table)
    if value < last:
        return value
    return value * draw_body(source, table) >> ONE_BITS
