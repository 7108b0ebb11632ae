"""request-response: a closed loop that conserves its clients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.workload_frames import MS, US, Frames, Guest, collect, new_source, next_batch, offered_bps

from vfbench.parameters import parameters_of
from vfbench.workload import NEVER_PS
from workloads.request_response import DUPLICATES, NOBODY, OLDEST, PORTS, RESENT, RequestResponse


class Loop:
    """A closed loop under the test's hands."""

    def __init__(self, **parameters: Any) -> None:
        self.workload = RequestResponse(**parameters)
        self.source, self.kept = new_source(self.workload)

    def ask(self, horizon_ps: int = NEVER_PS) -> Frames:
        return next_batch(self.workload, self.source, horizon_ps)

    def answer(self, flow: int, time_ps: int) -> None:
        RequestResponse.peer_received(self.source, time_ps, 64, flow)


def test_each_client_asks_once_and_then_waits() -> None:
    loop = Loop(flows=5)
    assert sorted(loop.ask(MS).flow % 5) == [0, 1, 2, 3, 4]
    assert len(loop.ask(MS).flow) == 0


def test_an_answer_brings_the_next_request_after_the_turnaround_from_another_port() -> None:
    loop = Loop(flows=2)
    first = loop.ask(MS)
    loop.answer(int(first.flow[1]), 50 * US)
    second = loop.ask(MS)
    assert list(second.start_ps) == [70 * US]
    assert second.flow[0] % 2 == first.flow[1] % 2
    assert second.flow[0] != first.flow[1]


def test_a_lost_request_is_sent_again_after_the_timeout() -> None:
    loop = Loop(flows=3, timeout_ns=1_000_000)
    first = loop.ask(MS // 2)
    loop.answer(int(first.flow[1]), 10 * US)
    again = loop.ask(first.start_ps[0] + MS + 10 * US)
    assert list(again.flow[1:]) == [first.flow[0], first.flow[2]]
    assert list(again.start_ps[1:]) == [first.start_ps[0] + MS, first.start_ps[2] + MS]
    assert loop.source.scratch[RESENT] == 2


def test_duplicate_and_late_answers_are_counted_and_ignored() -> None:
    loop = Loop(flows=1, timeout_ns=1_000_000)
    flow = int(loop.ask(MS // 2).flow[0])
    loop.ask(MS + MS // 2)  # sent again
    loop.answer(flow, 2 * MS)
    loop.answer(flow, 2 * MS + US)  # the other copy's answer, while nothing is asked
    loop.ask(2 * MS + 100 * US)
    loop.answer(flow, 2 * MS + 100 * US)  # and while the next is
    assert len(loop.ask(2 * MS + 200 * US).flow) == 0
    assert loop.source.scratch[DUPLICATES] == 2


def test_the_loop_conserves_its_clients_whatever_is_lost_late_or_doubled() -> None:
    chance = np.random.default_rng(7)
    loop = Loop(flows=40, timeout_ns=300_000)
    on_their_way: list[tuple[int, int]] = []
    now_ps, asked = 0, 0
    for _ in range(3000):
        now_ps += 10 * US
        for answer in sorted(each for each in on_their_way if each[0] <= now_ps):
            on_their_way.remove(answer)
            loop.answer(answer[1], answer[0])
        for at_ps, flow in zip((batch := loop.ask(now_ps)).arrival_ps, batch.flow, strict=True):
            copies = chance.choice([0, 1, 1, 1, 2])
            on_their_way += [
                (int(at_ps) + int(chance.integers(1, 500)) * US, int(flow)) for _ in range(copies)
            ]
            asked += 1
        waiting = count_waiting(loop)
        assert waiting + int(loop.source.ready_tail - loop.source.ready_head) == 40
    assert asked > 2000
    assert loop.source.scratch[RESENT] > 100
    assert loop.source.scratch[DUPLICATES] > 100


def count_waiting(loop: Loop) -> int:
    (clients,) = loop.kept
    client, count, last_ps = int(loop.source.scratch[OLDEST]), 0, -1
    while client != NOBODY:
        assert clients[client][1] >= last_ps
        last_ps, client, count = clients[client][1], int(clients[client][3]), count + 1
    return count


def test_a_rate_paces_the_closed_loop() -> None:
    frames = collect(RequestResponse(rate_bps=10**8, flows=64), 1000)
    assert offered_bps(frames) == pytest.approx(10**8, rel=0.001)


def test_every_request_is_answered_at_the_given_size() -> None:
    assert Guest(RequestResponse(answer_bytes=777)).deliver(128, 0) == 777


def test_flows_of_requests_fit_the_common_bound() -> None:
    most = next(each.high for each in parameters_of(RequestResponse) if each.field == "flows")
    assert most is not None
    assert most * PORTS <= 1 << 20
