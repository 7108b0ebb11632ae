"""Request-response: clients that each wait for the answer before they ask again.

A closed loop: what is offered is an outcome of how fast the guest answers, as in netperf's TCP_RR. A
request or answer that is lost must not stall its client for ever, so a request is sent again when its
answer has not come in time; 200 ms is the least that Linux waits (TCP_RTO_MIN; RFC 6298 would have 1 s).
There is no backoff.

Each request comes from a new source port, so it is a flow of its own and the peer can tell which request an
answer belongs to: a second answer to the same request, or a late one to a request given up, is counted and
ignored. Without that, every duplicate would become one more request in flight, for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vfbench.kernels import kernel
from vfbench.machine.memory.words import load_word, store_word
from vfbench.machine.wire import LEAST_FRAME_BYTES, LONGEST_FRAME_BYTES
from vfbench.parameters import parameter
from vfbench.workload import NEVER_PS, PENDING_ANSWERS, Workload, may_put, put_frame

PORTS = 256
"""Source ports per client, used in turn. A duplicate must be this many requests late to be mistaken."""

# scratch of the source
REQUEST_BYTES, TIMEOUT_PS, PACED_PS, OLDEST, NEWEST, RESENT, DUPLICATES = range(7)
# columns of the table, a row for each client; those who wait for an answer are linked in the order they asked
REQUESTS, ASKED_PS, OLDER, NEWER = range(4)
COLUMNS = 4
NOT_WAITING = -1
NOBODY = -1
# scratch of the application
ANSWER_BYTES = 0


@kernel
def get(source: Any, client: int, column: int) -> int:
    """What the table says of a client."""
    return load_word(source.table, client * COLUMNS + column)


@kernel
def put(source: Any, client: int, column: int, value: int) -> None:
    """Note it in the table."""
    store_word(source.table, client * COLUMNS + column, value)


@kernel
def begin_waiting(source: Any, client: int, time_ps: int) -> None:
    """The client has asked at ``time_ps`` and is the newest of those who wait."""
    newest = source.scratch[NEWEST]
    put(source, client, ASKED_PS, time_ps)
    put(source, client, OLDER, newest)
    put(source, client, NEWER, NOBODY)
    if newest == NOBODY:
        source.scratch[OLDEST] = client
    else:
        put(source, newest, NEWER, client)
    source.scratch[NEWEST] = client


@kernel
def end_waiting(source: Any, client: int) -> None:
    """The client waits no more: it was answered, or gave up."""
    older, newer = get(source, client, OLDER), get(source, client, NEWER)
    if older == NOBODY:
        source.scratch[OLDEST] = newer
    else:
        put(source, older, NEWER, newer)
    if newer == NOBODY:
        source.scratch[NEWEST] = older
    else:
        put(source, newer, OLDER, older)
    put(source, client, ASKED_PS, NOT_WAITING)


@kernel
def next_ready_ps(source: Any) -> int:
    """When the first client in the queue is to ask its next question."""
    if source.ready_head == source.ready_tail:
        return NEVER_PS
    return source.ready_ps[source.ready_head & (PENDING_ANSWERS - 1)]


@kernel
def next_timeout_ps(source: Any) -> int:
    """When the client that has waited longest gives up; all wait equally long, so the oldest is first."""
    oldest = source.scratch[OLDEST]
    if oldest == NOBODY:
        return NEVER_PS
    return get(source, oldest, ASKED_PS) + source.scratch[TIMEOUT_PS]


@kernel
def schedule(source: Any) -> None:
    """Set when the next request is due; never, while all wait for answers but for their timeout."""
    source.next_ps = min(next_ready_ps(source), next_timeout_ps(source))
    if source.next_ps != NEVER_PS:
        source.next_ps = max(source.next_ps, source.scratch[PACED_PS])


@kernel
def take_client(source: Any) -> int:
    """Whoever is due: the first in the queue with its next request, or the longest waiting with its last."""
    if next_ready_ps(source) <= next_timeout_ps(source):
        client = source.ready_flow[source.ready_head & (PENDING_ANSWERS - 1)]
        source.ready_head += 1
        put(source, client, REQUESTS, get(source, client, REQUESTS) + 1)
        return client
    client = source.scratch[OLDEST]
    end_waiting(source, client)
    source.scratch[RESENT] += 1
    return client


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """Whoever is due asks, no faster than the offered rate."""
    schedule(source)
    while may_put(source, frames, horizon_ps):
        client = take_client(source)
        begin_ps = max(source.next_ps, source.wire_free_ps)
        flow = client + source.flows * (get(source, client, REQUESTS) & (PORTS - 1))
        put_frame(source, frames, begin_ps, source.scratch[REQUEST_BYTES], flow, 0)
        begin_waiting(source, client, begin_ps)
        source.scratch[PACED_PS] = begin_ps + source.gap_ps
        schedule(source)
    return 0


@kernel
def answers_the_request(source: Any, client: int, flow: int) -> bool:
    """Whether the client waits, and for the answer to this very request."""
    asked_from = get(source, client, REQUESTS) & (PORTS - 1)
    return get(source, client, ASKED_PS) != NOT_WAITING and flow // source.flows == asked_from


@kernel
def peer_received(source: Any, time_ps: int, length: int, flow: int) -> int:
    """The client whose answer it is asks again after the turnaround; any other answer is a duplicate."""
    client = flow % source.flows
    if not answers_the_request(source, client, flow):
        source.scratch[DUPLICATES] += 1
        return 0
    end_waiting(source, client)
    place = source.ready_tail & (PENDING_ANSWERS - 1)
    source.ready_ps[place] = time_ps + source.turnaround_ps
    source.ready_flow[place] = client
    source.ready_tail += 1
    schedule(source)
    return 0


@kernel
def delivered(cpu: Any, application: Any, length: int, tag: int) -> int:
    """Answer every request."""
    return application.scratch[ANSWER_BYTES]


@dataclass(frozen=True)
class RequestResponse(Workload):
    """Closed loop: clients with one request outstanding each, sent again if no answer comes."""

    name: ClassVar[str] = "request-response"
    arrivals = arrivals
    delivered = delivered
    peer_received = peer_received
    cannot_act: ClassVar[dict[str, str]] = {
        "send_ratio": "every request is answered once",
        "write_bytes": "an answer's length is given",
    }

    rate_bps: int = parameter(
        0,
        unit="bps",
        low=0,
        help="most that the clients together offer, counting frame + 20 bytes (0: the link's)",
    )
    flows: int = parameter(
        64, unit="count", low=1, high=PENDING_ANSWERS, help="clients, each with one request outstanding"
    )
    request_bytes: int = parameter(
        128, unit="bytes", low=LEAST_FRAME_BYTES, high=LONGEST_FRAME_BYTES, help="request's frame with FCS"
    )
    answer_bytes: int = parameter(
        1024, unit="bytes", low=LEAST_FRAME_BYTES, high=LONGEST_FRAME_BYTES, help="answer's frame with FCS"
    )
    timeout_ns: int = parameter(
        200 * 10**6, unit="ns", low=1000, high=10**11, help="a request without answer is sent again after it"
    )

    @property
    def longest_frame_bytes(self) -> int:
        return max(self.request_bytes, self.answer_bytes)

    def prepare(self, source: Any) -> tuple[Any, ...]:
        clients = np.full((self.flows, COLUMNS), NOBODY, dtype=np.int64)
        clients[:, ASKED_PS] = NOT_WAITING
        source.table, source.table_length = clients.ctypes.data, clients.size
        source.flows = self.flows
        source.scratch[REQUEST_BYTES] = self.request_bytes
        source.scratch[TIMEOUT_PS] = self.timeout_ns * 1000
        source.scratch[OLDEST] = source.scratch[NEWEST] = NOBODY
        source.gap_ps = self.gap_ps(source, self.request_bytes)
        source.ready_ps[: self.flows] = 0
        source.ready_flow[: self.flows] = np.arange(self.flows)
        source.ready_tail = self.flows
        return (clients,)

    def prepare_application(self, application: Any) -> tuple[Any, ...]:
        application.scratch[ANSWER_BYTES] = self.answer_bytes
        return ()
