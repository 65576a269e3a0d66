from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import pytest
import zmq

from edge.client import GapError, SilenceError, Subscriber
from edge.sequence import Gap
from edge.verdict import Heartbeat, MessageError, Verdict, encode
from engines.errors import UsageError
from tests.edge.messages import beat, verdict


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


def test_gap_message_and_foreign_bytes_come_in_order(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    with Subscriber(endpoint) as subscriber:
        assert sender.recv() == b"\x01"
        send(sender, verdict(1), verdict(4), b"nonsense", msgspec.structs.replace(beat(4), schema=9))
        assert subscriber.receive(10.0) == verdict(1)
        assert subscriber.raw == encode(verdict(1))
        with pytest.raises(GapError, match=r"a: 2 verdict\(s\) never came, numbers 2 to 3") as caught:
            subscriber.receive(10.0)
        assert caught.value.gap == Gap("a", "s1", 2, 3)
        assert subscriber.receive(10.0) == verdict(4)
        for problem in ("found other bytes", "found schema 9"):
            with pytest.raises(MessageError, match=problem):
                subscriber.receive(10.0)


def test_a_message_of_another_number_of_frames_is_foreign(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    with Subscriber(endpoint) as subscriber:
        assert sender.recv() == b"\x01"
        sender.send(encode(verdict(1)))
        with pytest.raises(MessageError, match="expected a topic and a message, found 1 frames"):
            subscriber.receive(10.0)


def test_a_repeated_verdict_is_returned_once(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    with Subscriber(endpoint) as subscriber:
        assert sender.recv() == b"\x01"
        send(sender, verdict(1), beat(1), verdict(1), verdict(2))
        assert [subscriber.receive(10.0) for _ in range(3)] == [verdict(1), beat(1), verdict(2)]


def test_silence_is_raised_once(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    with Subscriber(endpoint) as subscriber:
        assert sender.recv() == b"\x01"
        send(sender, msgspec.structs.replace(beat(0), interval_s=0.05))
        assert isinstance(subscriber.receive(10.0), Heartbeat)
        with pytest.raises(SilenceError, match="a: no heartbeat for 0") as caught:
            subscriber.receive(10.0)
        assert caught.value.station == "a"
        assert caught.value.seconds >= 0.15
        assert subscriber.receive(0.05) is None


def test_heartbeats_that_came_while_nobody_called_are_no_silence(endpoint: str, sender: zmq.Socket[bytes]) -> None:
    short = msgspec.structs.replace(beat(0), interval_s=0.1)
    with Subscriber(endpoint) as subscriber:
        assert sender.recv() == b"\x01"
        send(sender, short)
        assert subscriber.receive(10.0) == short
        send(sender, short)
        time.sleep(0.5)
        assert subscriber.receive(10.0) == short


def test_outside_its_with_block_it_does_not_receive(endpoint: str) -> None:
    with pytest.raises(UsageError, match="inside its `with` block only"):
        Subscriber(endpoint).receive(0.0)


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
