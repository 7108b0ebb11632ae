"""A side of the migration stream that is busy is waited for; one that is silent is given up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from vfbench.testbeds.kvm.migrate import stream
from vfbench.testbeds.kvm.migrate.stream import Stream, StreamBroken

SILENCE_LIMIT_S, BUSY_S = 0.4, 1.0


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Stream, Stream]]:
    monkeypatch.setattr(stream, "SILENCE_LIMIT_S", SILENCE_LIMIT_S)
    monkeypatch.setattr(stream, "BEAT_EVERY_S", 0.05)
    here, there = tcp_pair()
    source, destination = Stream(here, "the destination"), Stream(there, "the source")
    yield source, destination
    source.close()
    destination.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        there, _ = server.accept()
    return here, there


def test_a_busy_side_that_beats_is_waited_for(ends: tuple[Stream, Stream]) -> None:
    source, destination = ends
    destination.start_beating()
    threading.Timer(BUSY_S, destination.send_json, (stream.DONE, "done")).start()
    assert source.ask(stream.PING) == "done"


def test_a_silent_side_is_given_up(ends: tuple[Stream, Stream]) -> None:
    source, _ = ends
    began = time.monotonic()
    with pytest.raises(StreamBroken, match=r"nothing came from the destination for 0\.4 s"):
        source.answer()
    assert time.monotonic() - began >= SILENCE_LIMIT_S


def test_a_side_that_beats_and_never_answers_is_given_up_too(
    ends: tuple[Stream, Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = ends
    monkeypatch.setattr(stream, "ANSWER_LIMIT_S", 0.6)
    destination.start_beating()
    with pytest.raises(StreamBroken, match=r"the destination did not answer for 0\.6 s"):
        source.answer()


def test_a_beat_is_no_message_and_never_falls_into_one(ends: tuple[Stream, Stream]) -> None:
    source, destination = ends
    source.start_beating()
    for number in range(20):
        source.send_json(stream.DONE, number)
        time.sleep(0.02)
    assert [destination.answer() for _ in range(20)] == list(range(20))
