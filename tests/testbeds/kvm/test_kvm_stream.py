"""A side of the migration stream that is busy is waited for; one that is silent is given up."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vfbench.testbeds.kvm.migrate import stream
from vfbench.testbeds.kvm.migrate.destination import Destination
from vfbench.testbeds.kvm.migrate.stream import Stream, StreamBroken

SILENCE_LIMIT_S, BUSY_S = 0.4, 1.0


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stream, Stream]]:
    """The source's, which listens, and the destination's."""
    monkeypatch.setattr(stream, "SILENCE_LIMIT_S", SILENCE_LIMIT_S)
    monkeypatch.setattr(stream, "BEAT_EVERY_S", 0.05)
    source, there = stream.source_pair()
    destination = stream.inherited(there.detach())
    yield source, destination
    source.close()
    destination.close()


def test_a_busy_side_that_beats_is_waited_for(ends: tuple[Stream, Stream]) -> None:
    source, destination = ends
    destination.start_beating()
    threading.Timer(BUSY_S, destination.send_json, (stream.DONE, "done")).start()
    assert source.ask(stream.PING) == "done"


def test_a_silent_side_is_given_up(ends: tuple[Stream, Stream]) -> None:
    source, _ = ends
    with pytest.raises(StreamBroken, match=r"nothing came from the destination for 0\.4 s"):
        source.answer()


def test_a_side_that_beats_and_never_answers_is_given_up_too(ends: tuple[Stream, Stream]) -> None:
    source, destination = ends
    destination.start_beating()
    with pytest.raises(StreamBroken, match=r"the destination did not answer for 0\.6 s"):
        source.answer(0.6)


def test_a_destination_that_falls_silent_is_noticed_while_its_source_does_something_else(
    ends: tuple[Stream, Stream],
) -> None:
    source, destination = ends
    destination.send_json(stream.DONE, "the last that was heard")
    time.sleep(2 * SILENCE_LIMIT_S)
    with pytest.raises(StreamBroken, match="nothing came from the destination"):
        source.check()
    assert source.answer() == "the last that was heard"
    with pytest.raises(StreamBroken, match="nothing came from the destination"):
        source.answer()


def test_who_sends_to_a_side_that_is_known_to_be_gone_does_not_wait(ends: tuple[Stream, Stream]) -> None:
    source, destination = ends
    destination.close()
    with pytest.raises(StreamBroken, match="closed the connection"):
        source.answer()
    with pytest.raises(StreamBroken, match="closed the connection"):
        source.send(stream.GUEST_STATE, bytes(1 << 22))


def test_two_senders_who_are_stuck_are_given_up_together(ends: tuple[Stream, Stream]) -> None:
    source, destination = ends
    destination.start_beating()
    gave_up: list[float] = []

    def send_too_much() -> None:
        with contextlib.suppress(StreamBroken):
            source.send(stream.GUEST_STATE, bytes(1 << 24))
        gave_up.append(time.monotonic())

    senders = [threading.Thread(target=send_too_much) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert gave_up[1] - gave_up[0] < SILENCE_LIMIT_S


def test_a_beat_is_no_message_and_never_falls_into_one(ends: tuple[Stream, Stream]) -> None:
    source, destination = ends
    destination.start_beating()
    for number in range(20):
        destination.send_json(stream.DONE, number)
        time.sleep(0.02)
    assert [source.answer() for _ in range(20)] == list(range(20))


def test_a_destination_reads_all_that_tells_it_to_end_before_it_does() -> None:
    """A source that is put to sleep in the middle of its last message finds the other end there when it goes on."""
    here, there = socket.socketpair()
    page = np.zeros(4096, np.uint8)
    endpoint: Any = SimpleNamespace(
        bench=SimpleNamespace(pair=None), vm=SimpleNamespace(memory=SimpleNamespace(bytes=page))
    )
    order: Any = SimpleNamespace(refuse="")
    with here, contextlib.closing(stream.inherited(there.detach())) as connection:
        serving = threading.Thread(target=Destination(endpoint, connection, order).serve)
        serving.start()
        here.sendall(stream._HEADER.pack(stream._MAGIC, stream.QUIT, 4))
        serving.join(0.3)
        assert serving.is_alive()
        here.sendall(b"null")
        serving.join()
