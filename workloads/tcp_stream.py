"""TCP stream: bulk data one way, acknowledgements the other, within a window.

What a file transfer over TCP is to a NIC: the sender keeps so many bytes on their way and waits for acknowledgements.
So throughput is the window over the round-trip time, or the wire's. A loss halves the congestion window or, where
nothing is heard, costs a timeout; a gap of service costs what it lasts and what it lost (``vfbench.tcp``).

``direction=receive``: the peer sends to the guest. ``send``: the guest sends, as the peer's acknowledgements let it, as
many segments at a time as there is room for: with ``driver.segmentation`` the card cuts them. ``round_trip`` is what
the network adds to the machine's own time and to the peer's (``link.peer-turnaround``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vfbench.errors import UserError
from vfbench.kernels import kernel
from vfbench.machine.cpu import now_ps
from vfbench.machine.memory.words import load_word, store_word
from vfbench.machine.wire import FRAME_OVERHEAD_BYTES, TAG_PUSH
from vfbench.parameters import parameter
from vfbench.tcp.receiver import (
    ack_word,
    acked_of,
    receiver_start_values,
    sacked_from,
    sacked_until,
    take_segments,
)
from vfbench.tcp.sender import (
    CONGESTION_1024,
    DUE_PS,
    NEXT,
    PIPE,
    new_segments,
    next_segment,
    note_sent,
    start_values,
    take_ack,
    take_timeout,
)
from vfbench.workload import BATCH_FRAMES, NEVER_PS, Workload, put_frame

# scratch of the source, and of the application
STREAMS, STRIDE, SENDS, SEGMENT_BYTES, DELAY_PS, CLOCK_PS, PACED_PS, TURN, EVENTS, EVENT_HEAD, EVENT_TAIL = (
    range(11)
)
"""The first four are the application's as well: each is one end of the streams, and either sends or receives."""
FULL_SEND_BYTES = 1 << 16
EVENT_PLACES = 1 << 14
EVENT_PS, EVENT_STREAM, EVENT_WORD, EVENT_WORDS = range(4)
"""Acknowledgements on their way, in the order of time: what arrived for the peer to act on, or what it is to send."""
PUSH = TAG_PUSH
ACK_BYTES = FRAME_OVERHEAD_BYTES


@kernel
def stream_base(state: Any, stream: int) -> int:
    """Address of a stream's words at this end."""
    return state.table + 8 * stream * state.scratch[STRIDE]


@kernel
def event_place(source: Any, number: int) -> int:
    """Index of the first word of event ``number``."""
    return source.scratch[EVENTS] + (number & (EVENT_PLACES - 1)) * EVENT_WORDS


@kernel
def add_event(source: Any, time_ps: int, stream: int, word: int) -> None:
    """Queue an acknowledgement, in the order of time; a full queue loses it, as a network would."""
    number = source.scratch[EVENT_TAIL]
    if number - source.scratch[EVENT_HEAD] >= EVENT_PLACES:
        return
    source.scratch[EVENT_TAIL] = number + 1
    while number > source.scratch[EVENT_HEAD]:
        before = event_place(source, number - 1)
        if load_word(source.table, before + EVENT_PS) <= time_ps:
            break
        for i in range(EVENT_WORDS):
            store_word(source.table, event_place(source, number) + i, load_word(source.table, before + i))
        number -= 1
    place = event_place(source, number)
    store_word(source.table, place + EVENT_PS, time_ps)
    store_word(source.table, place + EVENT_STREAM, stream)
    store_word(source.table, place + EVENT_WORD, word)


@kernel
def next_event_ps(source: Any) -> int:
    """When the oldest acknowledgement is due."""
    if source.scratch[EVENT_HEAD] == source.scratch[EVENT_TAIL]:
        return NEVER_PS
    return load_word(source.table, event_place(source, source.scratch[EVENT_HEAD]) + EVENT_PS)


@kernel
def first_timeout(source: Any) -> int:
    """The stream whose timeout is due first."""
    first = 0
    for stream in range(1, source.scratch[STREAMS]):
        due_ps = load_word(stream_base(source, stream), DUE_PS)
        if due_ps < load_word(stream_base(source, first), DUE_PS):
            first = stream
    return first


@kernel
def take_event(source: Any) -> None:
    """The peer, sending, acts on the oldest acknowledgement."""
    place = event_place(source, source.scratch[EVENT_HEAD])
    source.scratch[EVENT_HEAD] += 1
    time_ps, word = load_word(source.table, place + EVENT_PS), load_word(source.table, place + EVENT_WORD)
    base = stream_base(source, load_word(source.table, place + EVENT_STREAM))
    take_ack(base, acked_of(word), sacked_from(word), sacked_until(word), time_ps)
    source.scratch[CLOCK_PS] = max(source.scratch[CLOCK_PS], time_ps)


@kernel
def ready_stream(source: Any) -> int:
    """A stream that may send a segment, in turn; -1 if none may."""
    streams = source.scratch[STREAMS]
    for i in range(streams):
        stream = (source.scratch[TURN] + i) % streams
        if next_segment(stream_base(source, stream)) >= 0:
            return stream
    return -1


@kernel
def put_segment(source: Any, frames: Any, stream: int, begin_ps: int) -> None:
    """The peer puts a stream's next segment on the wire."""
    base = stream_base(source, stream)
    sequence = next_segment(base)
    note_sent(base, sequence, 1, begin_ps)
    tag = sequence if next_segment(base) >= 0 else sequence | PUSH
    put_frame(source, frames, begin_ps, source.scratch[SEGMENT_BYTES], stream, tag)
    source.scratch[CLOCK_PS] = begin_ps
    source.scratch[PACED_PS] = begin_ps + source.gap_ps
    source.scratch[TURN] = (stream + 1) % source.scratch[STREAMS]


@kernel
def send_segments(source: Any, frames: Any, horizon_ps: int) -> None:
    """The peer sends: acknowledgements and timeouts as they are due, segments as windows and wire have room."""
    while True:
        stream, timed_out = ready_stream(source), first_timeout(source)
        timeout_ps = load_word(stream_base(source, timed_out), DUE_PS)
        begin_ps = max(max(source.scratch[CLOCK_PS], source.wire_free_ps), source.scratch[PACED_PS])
        if stream < 0:
            begin_ps = NEVER_PS
        event_ps = min(next_event_ps(source), timeout_ps)
        source.next_ps = min(begin_ps, event_ps)
        if source.next_ps >= horizon_ps or frames.count == BATCH_FRAMES or source.frames_left <= 0:
            return
        if begin_ps < event_ps:
            put_segment(source, frames, stream, begin_ps)
        elif next_event_ps(source) <= timeout_ps:
            take_event(source)
        else:
            take_timeout(stream_base(source, timed_out), timeout_ps)
            source.scratch[CLOCK_PS] = max(source.scratch[CLOCK_PS], timeout_ps)


@kernel
def send_acks(source: Any, frames: Any, horizon_ps: int) -> None:
    """The guest sends: the peer puts its acknowledgements on the wire when they are due."""
    while True:
        source.next_ps = next_event_ps(source)
        begin_ps = max(source.next_ps, source.wire_free_ps)
        if begin_ps >= horizon_ps or frames.count == BATCH_FRAMES or source.frames_left <= 0:
            return
        place = event_place(source, source.scratch[EVENT_HEAD])
        source.scratch[EVENT_HEAD] += 1
        stream, word = (
            load_word(source.table, place + EVENT_STREAM),
            load_word(source.table, place + EVENT_WORD),
        )
        put_frame(source, frames, begin_ps, ACK_BYTES, stream, word)


@kernel
def arrivals(source: Any, frames: Any, horizon_ps: int) -> int:
    """What the peer puts on the wire."""
    if source.scratch[SENDS]:
        send_segments(source, frames, horizon_ps)
    else:
        send_acks(source, frames, horizon_ps)
    return 0


@kernel
def peer_received(source: Any, time_ps: int, length: int, flow: int) -> int:
    """What the guest sent: an acknowledgement for the peer, or a segment that it acknowledges."""
    due_ps = time_ps + source.scratch[DELAY_PS]
    if source.scratch[SENDS]:
        add_event(source, due_ps, flow, source.reply_tag)
        return 0
    base, sequence = stream_base(source, flow), source.reply_tag & ~PUSH
    if take_segments(base, sequence, 1, source.reply_tag & PUSH != 0):
        add_event(source, due_ps, flow, ack_word(base, sequence, 1))
    return 0


@kernel
def acknowledge(application: Any, length: int, tag: int) -> int:
    """The guest receives: segments, several in one packet if GRO joined them."""
    base, first = stream_base(application, application.flow), tag & ~PUSH
    payload_bytes = application.scratch[SEGMENT_BYTES] - FRAME_OVERHEAD_BYTES
    segments = max(1, (length - FRAME_OVERHEAD_BYTES) // payload_bytes)
    if not take_segments(base, first, segments, tag & PUSH != 0 or segments > 1):
        return 0
    application.reply_tag = ack_word(base, first, segments)
    application.reply_flow = application.flow
    return ACK_BYTES


@kernel
def segments_to_send(application: Any, base: int) -> int:
    """New segments that go now: all that there is room for, once that is a third of the window or a full send.

    Source: ``tcp_tso_should_defer`` (net/ipv4/tcp_output.c), tcp_tso_win_divisor 3.
    """
    count, window = new_segments(base), load_word(base, CONGESTION_1024) >> 10
    full_send = FULL_SEND_BYTES // (application.scratch[SEGMENT_BYTES] - FRAME_OVERHEAD_BYTES)
    if load_word(base, PIPE) > 0 and count < min(full_send, max(1, window // 3)):
        return 0
    return count


@kernel
def send_more(application: Any, stream: int, time_ps: int) -> int:
    """The guest sends what its windows have room for; how long that is, as one frame, or 0."""
    base = stream_base(application, stream)
    first = next_segment(base)
    if first < 0:
        return 0
    count = segments_to_send(application, base) if first == load_word(base, NEXT) else 1
    if count == 0:
        return 0
    note_sent(base, first, count, time_ps)
    application.reply_tag, application.reply_flow, application.reply_last = first, stream, PUSH
    return count * (application.scratch[SEGMENT_BYTES] - FRAME_OVERHEAD_BYTES) + FRAME_OVERHEAD_BYTES


@kernel
def send_on_ack(application: Any, length: int, tag: int, time_ps: int) -> int:
    """The guest sends: an acknowledgement has come, or the timer is due (a length of 0)."""
    stream = application.flow
    if length == 0:
        stream = first_timeout(application)
        if load_word(stream_base(application, stream), DUE_PS) <= time_ps:
            take_timeout(stream_base(application, stream), time_ps)
    else:
        take_ack(
            stream_base(application, stream), acked_of(tag), sacked_from(tag), sacked_until(tag), time_ps
        )
    answer_bytes = send_more(application, stream, time_ps)
    due_ps = load_word(stream_base(application, first_timeout(application)), DUE_PS)
    application.timer_ps = due_ps if due_ps < NEVER_PS else 0
    return answer_bytes


@kernel
def delivered(cpu: Any, application: Any, length: int, tag: int) -> int:
    """What the guest's end of the stream makes of a packet."""
    if application.scratch[SENDS]:
        return send_on_ack(application, length, tag, now_ps(cpu))
    return acknowledge(application, length, tag)


@dataclass(frozen=True)
class TcpStream(Workload):
    """Bulk TCP streams: as fast as window, round trip, wire and loss let them."""

    name: ClassVar[str] = "tcp-stream"
    arrivals = arrivals
    delivered = delivered
    peer_received = peer_received
    tags_replies: ClassVar[bool] = True
    cannot_act: ClassVar[dict[str, str]] = {
        "send_ratio": "acknowledgements and window say what is sent",
        "write_bytes": "the window says how much is sent at a time",
    }

    rate_bps: int = parameter(
        0,
        unit="bps",
        low=0,
        help="most that a sending peer offers, counting frame + 20 bytes (0: the link's)",
    )
    flows: int = parameter(8, unit="count", low=1, high=4096, help="streams at a time")
    direction: str = parameter("receive", choices=("receive", "send"), help="what the guest does")
    window_bytes: int = parameter(
        128 << 10,
        unit="bytes",
        low=4096,
        high=16 << 20,
        help="what each stream may have on its way: the receiver's window",
    )
    round_trip_ns: int = parameter(
        100_000, unit="ns", low=0, high=10**9, help="time on the network, both ways together"
    )
    timeout_ns: int = parameter(
        200 * 10**6, unit="ns", low=10**6, high=10**11, help="retransmission timeout at least (TCP_RTO_MIN)"
    )
    ack_every: int = parameter(
        2, unit="count", low=1, high=64, help="segments that are acknowledged together"
    )

    def __post_init__(self) -> None:
        """A peer's rate says nothing about a guest that sends."""
        super().__post_init__()
        if self.rate_bps and self.direction == "send":
            raise UserError(
                "tcp-stream.rate: cannot act with direction=send: the guest sends, at its own rate"
            )

    def window_segments(self, frame_bytes: int) -> int:
        """The window in whole segments, of frames of ``frame_bytes``."""
        return max(2, self.window_bytes // (frame_bytes - FRAME_OVERHEAD_BYTES))

    def _rows(self, sends: bool, frame_bytes: int) -> Any:
        """The words of every stream's end, a row each."""
        window = self.window_segments(frame_bytes)
        start = start_values(window, self.timeout_ns * 1000)
        row = start if sends else receiver_start_values(window, self.ack_every)
        return np.tile(np.array(row, dtype=np.int64), (self.flows, 1))

    def prepare(self, source: Any) -> tuple[Any, ...]:
        peer_sends = self.direction == "receive"
        frame_bytes = int(source.frame_bytes)
        rows = self._rows(peer_sends, frame_bytes)
        table = np.concatenate([rows.ravel(), np.zeros(EVENT_PLACES * EVENT_WORDS, dtype=np.int64)])
        source.table, source.table_length = table.ctypes.data, table.size
        source.flows = self.flows
        source.scratch[STREAMS], source.scratch[STRIDE] = rows.shape
        source.scratch[SENDS], source.scratch[EVENTS] = peer_sends, rows.size
        source.scratch[SEGMENT_BYTES] = frame_bytes
        source.scratch[DELAY_PS] = self.round_trip_ns * 1000 + int(source.turnaround_ps)
        source.gap_ps = self.gap_ps(source, frame_bytes) if self.rate_bps else 0
        if not peer_sends:
            self._ask_for_streams(source, table)
        return (table,)

    def _ask_for_streams(self, source: Any, table: Any) -> None:
        """The first acknowledgement of each stream, of nothing yet: the peer's part of opening it."""
        events = table[int(source.scratch[EVENTS]) :].reshape(EVENT_PLACES, EVENT_WORDS)
        events[: self.flows, EVENT_STREAM] = np.arange(self.flows)
        source.scratch[EVENT_TAIL] = self.flows

    def prepare_application(self, application: Any) -> tuple[Any, ...]:
        guest_sends = self.direction == "send"
        frame_bytes = int(application.frame_bytes)
        rows = self._rows(guest_sends, frame_bytes)
        application.table = rows.ctypes.data
        application.scratch[STREAMS], application.scratch[STRIDE] = rows.shape
        application.scratch[SENDS], application.scratch[SEGMENT_BYTES] = guest_sends, frame_bytes
        return (rows,)
