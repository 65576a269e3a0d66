from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
import zmq

from edge.client import Foreign, Gap, Received, SequenceWatch, Silence, Subscriber
from edge.verdict import Counters, Evaluation, Heartbeat, StageTimes, State, Verdict, encode
from engines.errors import UsageError

WHEN = "2026-01-01T00:00:00.000+00:00"


def verdict(seq: int, session: str = "s1", station: str = "a") -> Verdict:
    return Verdict(
        session_id=session,
        station=station,
        sent_at=WHEN,
        seq=seq,
        frame_id=seq,
        part_id=None,
        trigger_id=None,
        evaluation=Evaluation.OK,
        reason="",
        score=0.5,
        threshold=1.0,
        margin=0.5,
        regions=(),
        bundle_digest="d",
        captured_at=WHEN,
        captured_ns=1,
        stage_ms=StageTimes(capture=0.0, queue=0.0),
    )


def beat(last_seq: int, session: str = "s1", station: str = "a", state: State = State.RUNNING) -> Heartbeat:
    return Heartbeat(
        session_id=session,
        station=station,
        sent_at=WHEN,
        interval_s=1.0,
        last_seq=last_seq,
        state=state,
        state_s=0.0,
        reason="",
        counters=Counters(),
        bundle_digest="d",
        engine="onnxruntime",
        precision="f32",
    )


@pytest.mark.parametrize(
    ("messages", "missing"),
    [
        ([verdict(1), verdict(2), beat(2), verdict(3)], []),
        ([verdict(1), verdict(4)], [(2, 3)]),
        ([beat(0), verdict(1), beat(3)], [(2, 3)]),
        ([verdict(1), beat(3), verdict(4)], [(2, 3)]),
        ([verdict(40), verdict(41)], []),
        ([beat(40), verdict(41)], []),
        ([beat(40), verdict(42)], [(41, 41)]),
        ([verdict(5), verdict(1, "s2"), verdict(2, "s2")], []),
        ([verdict(5), verdict(3, "s2")], [(1, 2)]),
        ([verdict(5), beat(2, "s2")], [(1, 2)]),
        ([verdict(1), verdict(1, station="b"), verdict(2), verdict(3, station="b")], [(2, 2)]),
        ([verdict(1), verdict(2), verdict(2), verdict(3)], []),
    ],
)
def test_what_was_sent_and_never_came_is_told(
    messages: list[Verdict | Heartbeat], missing: list[tuple[int, int]]
) -> None:
    watch = SequenceWatch()
    gaps = [watch.note(message, now=0.0) for message in messages]
    assert [(gap.first, gap.last) for gap in gaps if gap] == missing


def test_silence_is_three_intervals_without_a_heartbeat_and_told_once() -> None:
    watch = SequenceWatch()
    watch.note(beat(0), now=100.0)
    watch.note(verdict(1), now=102.9)
    assert watch.silent(103.0) == []
    assert watch.silent(103.1) == [Silence("a", pytest.approx(3.1))]
    assert watch.silent(200.0) == []
    watch.note(beat(1), now=201.0)
    assert watch.silent(203.0) == []
    assert [silence.station for silence in watch.silent(204.5)] == ["a"]


def test_a_station_that_said_stopped_owes_nothing() -> None:
    watch = SequenceWatch()
    watch.note(beat(0, state=State.STOPPED), now=0.0)
    assert watch.silent(100.0) == []


@pytest.fixture
def sender(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(endpoint)
        yield socket


def send(socket: zmq.Socket[bytes], *messages: Verdict | Heartbeat | bytes) -> None:
    for message in messages:
        raw = message if isinstance(message, bytes) else encode(message)
        socket.send_multipart([b"a/verdict", raw])


def test_the_subscriber_tells_gap_message_and_foreign_bytes_in_order(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    with Subscriber(endpoint) as subscriber:
        assert sender.recv() == b"\x01"
        newer = encode(msgspec.structs.replace(beat(4), schema=9))
        send(sender, verdict(1), verdict(4), b"nonsense", newer)
        events = [subscriber.receive(10.0) for _ in range(5)]
    kinds = [type(event) for event in events]
    assert kinds == [Received, Gap, Received, Foreign, Foreign]
    assert isinstance(events[0], Received)
    assert (events[0].message, events[0].raw) == (verdict(1), encode(verdict(1)))
    assert "schema 9" in str(events[4])


def test_the_subscriber_tells_silence(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    with Subscriber(endpoint) as subscriber:
        assert sender.recv() == b"\x01"
        send(sender, msgspec.structs.replace(beat(0), interval_s=0.05))
        assert isinstance(subscriber.receive(10.0), Received)
        silence = subscriber.receive(10.0)
    assert isinstance(silence, Silence)
    assert silence.seconds >= 0.15


def test_one_station_can_be_listened_to(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    with Subscriber(endpoint, station="a"):
        assert sender.recv() == b"\x01a/"


def test_nothing_within_the_wait_is_none(endpoint: str) -> None:
    with Subscriber(endpoint) as subscriber:
        began = time.monotonic()
        assert subscriber.receive(0.05) is None
        assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1", "http://127.0.0.1:1"])
def test_an_impossible_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(UsageError, match=f"cannot connect to '{address}'"), Subscriber(address):
        pass
