"""Simple IMIX: 64, 594 and 1518 bytes at 7 : 4 : 1, shuffled.

The packet sizes seen on Internet links around 2000, as makers of test gear boiled them down: IP packets of
40, 576 and 1500 bytes at 7 : 4 : 1, which in Ethernet with FCS are 64 (padded), 594 and 1518. Other gear
says 570 or 512 for the middle one, so the sizes are named here; RFC 6985 asks for just that, and gives this
mix no name. Mean: 361.8 bytes.

Every twelve frames hold exactly seven, four and one, dealt like cards: the order is drawn by the seed, the
mix is not left to chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_word
from vfbench.workload import Workload, may_put, next_flow, next_random, put_frame

SMALL_BYTES, MIDDLE_BYTES, LARGE_BYTES = 64, 594, 1518
SMALL_COUNT, MIDDLE_COUNT, LARGE_COUNT = 7, 4, 1
CYCLE = SMALL_COUNT + MIDDLE_COUNT + LARGE_COUNT
MEAN_BYTES = (SMALL_BYTES * SMALL_COUNT + MIDDLE_BYTES * MIDDLE_COUNT + LARGE_BYTES * LARGE_COUNT) / CYCLE

PACKS = 1024
CARD, PACK_END = 0, 1


@kernel
def draw_card(source: Any) -> int:
    """The next card of the pack at hand; after its last, one of the shuffled packs is taken at random."""
    card = source.scratch[CARD]
    if card == source.scratch[PACK_END]:
        card = CYCLE * (next_random(source) * PACKS >> 31)
        source.scratch[PACK_END] = card + CYCLE
    source.scratch[CARD] = card + 1
    return load_word(source.table, card)


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """Frames as the cards fall, started evenly; one behind a large frame waits for the wire."""
    while may_put(source, frames, horizon_ps):
        put_frame(source, frames, source.next_ps, draw_card(source), next_flow(source), 0)
        source.next_ps += source.gap_ps
    return 0


@dataclass(frozen=True)
class ImixSimple(Workload):
    """Frames of 64, 594 and 1518 bytes at 7:4:1 in shuffled order, at line rate."""

    name: ClassVar[str] = "imix-simple"
    arrivals = arrivals

    def prepare(self, source: Any) -> tuple[Any, ...]:
        packs = _shuffled_packs(int(source.random))
        source.table, source.table_length = packs.ctypes.data, packs.size
        source.gap_ps = self.gap_ps(source, MEAN_BYTES)
        return (packs,)


def _shuffled_packs(seed: int) -> NDArray[np.int64]:
    """Shuffling ahead of the run costs a frame of the run nothing."""
    pack = np.repeat(
        np.array([SMALL_BYTES, MIDDLE_BYTES, LARGE_BYTES]), [SMALL_COUNT, MIDDLE_COUNT, LARGE_COUNT]
    )
    # The old generator's numbers are frozen (NEP 19); the new one's may change with numpy's version.
    order = np.random.RandomState(seed & 0xFFFF_FFFF).random_sample((PACKS, CYCLE))
    return np.ascontiguousarray(pack[np.argsort(order, axis=1, kind="stable")], dtype=np.int64)
