"""A publisher that drops verdicts on the way, and the control socket that still has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
import zmq

from edge.client import GapError, Subscriber
from edge.config import ControlTable, SecurityTable
from edge.control import Control
from edge.replay import ReplayRing
from edge.requests import Done, Refused, ReplayReply, ReplayRequest
from edge.verdict import Heartbeat, Verdict, encode
from edge.worker import Worker
from tests.edge.messages import beat, verdict

Answer = Callable[[ReplayRequest], ReplayReply | Refused | Done]


class Station:
    """Sends some of its verdicts and keeps the last of them."""

    def __init__(self, kept: int, publish: str) -> None:
        self.asked: list[ReplayRequest] = []
        self.ring = ReplayRing(kept)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(publish)

    def await_reader(self) -> None:
        assert self._socket.poll(30_000)
        self._socket.recv()

    def judge(self, number: int, sent: bool = True) -> None:
        self.ring.append(number, encode(verdict(number)))
        if sent:
            self.send(verdict(number))

    def send(self, message: Verdict | Heartbeat) -> None:
        self._socket.send_multipart([b"a/verdict", encode(message)])

    def replay(self, request: ReplayRequest) -> ReplayReply:
        self.asked.append(request)
        first, messages = self.ring.since(request.first, request.last, 2000)
        return ReplayReply(first=first, verdicts=tuple(map(msgspec.Raw, messages)))

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture
def station(endpoint: str) -> Iterator[Station]:
    station = Station(20, endpoint)
    yield station
    station.close()


@pytest.fixture
def control() -> Iterator[Control]:
    control = Control(ControlTable(bind="tcp://127.0.0.1:*"), SecurityTable())
    worker = Worker("control", control)
    worker.start()
    yield control
    worker.stop(30)


def received(subscriber: Subscriber, count: int) -> list[int | str]:
    """Numbers of verdicts and texts of gaps, in the order they come."""
    found: list[int | str] = []
    while len(found) < count:
        try:
            message = subscriber.receive(30.0)
        except GapError as error:
            found.append(f"{error.gap.first}-{error.gap.last}")
            continue
        assert message is not None
        if isinstance(message, Verdict):
            found.append(message.seq)
    return found


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ({3, 4}, [*range(1, 11)]),
        ({2, 3, 4, 5, 6, 7, 8, 9}, [*range(1, 11)]),
        ({2, 4, 6, 8}, [*range(1, 11)]),
    ],
)
def test_what_was_lost_comes_in_its_place(
    station: Station, control: Control, endpoint: str, lost: set[int], expected: Sequence[int]
) -> None:
    control.on(ReplayRequest, station.replay)
    with Subscriber(endpoint, control=control.endpoint) as subscriber:
        station.await_reader()
        for number in range(1, 11):
            station.judge(number, sent=number not in lost)
        assert received(subscriber, 10) == expected
        station.judge(11)
        assert received(subscriber, 1) == [11]
        assert subscriber.raw == encode(verdict(11))


def test_a_lost_tail_comes_with_the_next_heartbeat(station: Station, control: Control, endpoint: str) -> None:
    control.on(ReplayRequest, station.replay)
    with Subscriber(endpoint, control=control.endpoint) as subscriber:
        station.await_reader()
        for number in range(1, 4):
            station.judge(number, sent=number == 1)
        station.send(beat(3))
        assert received(subscriber, 3) == [1, 2, 3]
        assert isinstance(subscriber.receive(30.0), Heartbeat)


def test_what_is_not_kept_any_more_is_a_gap(station: Station, control: Control, endpoint: str) -> None:
    control.on(ReplayRequest, station.replay)
    with Subscriber(endpoint, control=control.endpoint) as subscriber:
        station.await_reader()
        for number in range(1, 31):
            station.judge(number, sent=number in (1, 30))
        assert received(subscriber, 22) == [1, "2-10", *range(11, 31)]


def test_a_number_out_of_all_reason_is_one_gap(station: Station, control: Control, endpoint: str) -> None:
    control.on(ReplayRequest, station.replay)
    with Subscriber(endpoint, control=control.endpoint) as subscriber:
        station.await_reader()
        station.judge(1)
        station.judge(2, sent=False)
        station.send(beat(10**18))
        assert received(subscriber, 3) == [1, 2, f"3-{10**18}"]


def _of_another(request: ReplayRequest) -> ReplayReply:
    return ReplayReply(first=2, verdicts=(msgspec.Raw(encode(verdict(2, session="old"))), msgspec.Raw(b"{}")))


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: Refused(reason="an earlier session"),
        lambda request: Done(message="well"),
        lambda request: ReplayReply(first=2, verdicts=()),
        lambda request: ReplayReply(first=7, verdicts=(msgspec.Raw(encode(verdict(7))),)),
        lambda request: ReplayReply(first=2, verdicts=(msgspec.Raw(encode(beat(2))),)),
        _of_another,
    ],
)
def test_an_answer_that_is_none_leaves_the_gap(
    station: Station, control: Control, endpoint: str, answer: Answer
) -> None:
    control.on(ReplayRequest, answer)
    with Subscriber(endpoint, control=control.endpoint) as subscriber:
        station.await_reader()
        for number in range(1, 5):
            station.judge(number, sent=number in (1, 4))
        assert received(subscriber, 3) == [1, "2-3", 4]


def test_nobody_there_to_ask_leaves_the_gap_and_holds_nothing_up_for_long(
    station: Station, endpoint: str, tmp_path
) -> None:
    with Subscriber(endpoint, control=f"ipc://{tmp_path}/nobody") as subscriber:
        station.await_reader()
        for number in (1, 4, 8):
            station.send(verdict(number))
        assert received(subscriber, 5) == [1, "2-3", 4, "5-7", 8]
