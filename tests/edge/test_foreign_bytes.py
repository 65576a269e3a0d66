"""Random bytes, and random changes of good ones, for everything that reads bytes of others."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.asker import Asker
from edge.client import Subscriber
from edge.config import ControlTable, SecurityTable
from edge.control import LONGEST_REQUEST, Control
from edge.requests import StatusReply, StatusRequest
from edge.verdict import Evaluation, Verdict
from edge.worker import Worker
from engines.errors import InspectError
from tests.edge.foreign_bytes import Parser, parsers
from tests.edge.messages import beat

NAMES = (
    *("published", "gateway", "request", "reply", "config", "client-key", "client-list"),
    *("bundle-info", "bundle-manifest", "image", "journal"),
)
TOKENS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"1e999",
    b"-1",
    b"\xff",
    b"\x00",
    b"\n",
    b"\\ud800",
    b"NaN",
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Parser]:
    return parsers(tmp_path_factory.mktemp("foreign"))


@st.composite
def changed(draw: st.DrawFn, seed: bytes) -> bytes:
    """A good message with up to four pieces cut out, repeated or replaced."""
    data = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 20, len(data))))
        piece = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8), st.just(data[start:end] * 3)))
        data = data[:start] + piece + data[end:]
    return data


def test_the_table_names_every_parser(known: Mapping[str, Parser]) -> None:
    assert tuple(known) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_good_bytes_are_taken(known: Mapping[str, Parser], name: str) -> None:
    for seed in known[name].seeds:
        known[name].parse(seed)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_comes_is_taken_or_refused_in_words(
    known: Mapping[str, Parser], name: str, data: st.DataObject
) -> None:
    parser = known[name]
    seed = data.draw(st.sampled_from(list(parser.seeds)))
    parser.stands(data.draw(st.one_of(st.binary(max_size=200), changed(seed))))


DEEP = b"[" * 60_000


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("published", DEEP),
        ("published", b'{"type":"verdict","x":' + DEEP),
        ("published", b'{"type":"heartbeat","cameras":' + b'{"a":' * 50_000),
        ("request", b'{"type":"status","x":' + DEEP),
        ("reply", b'{"type":"replay","first":1,"verdicts":' + DEEP),
        ("config", b"a = " + DEEP),
        ("config", b"a = " + b"{a = " * 20_000),
        ("config", b"station = " + b"9" * 5000),
        ("client-key", DEEP),
        ("bundle-info", b'{"schema":2,"x":' + DEEP),
        ("bundle-info", b'{"schema":2,"product":"\xff"}'),
        ("bundle-manifest", b'{"schema":2,"files":' + DEEP),
    ],
)
def test_what_has_brought_a_parser_down_before_is_refused(known: Mapping[str, Parser], name: str, data: bytes) -> None:
    with pytest.raises(InspectError):
        known[name].parse(data)


def test_a_refusal_has_words(known: Mapping[str, Parser]) -> None:
    with pytest.raises(InspectError, match="found other bytes"):
        known["published"].parse(b"\xff")


def test_a_control_socket_stands_whatever_frames_come(endpoint: str) -> None:
    control = Control(ControlTable(bind=endpoint), SecurityTable())
    control.on(StatusRequest, lambda _: StatusReply(status=beat(1)))
    worker = Worker("control", control)
    worker.start()
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        _throw(socket)
        socket.send(bytes(LONGEST_REQUEST + 1))
        with Asker(endpoint) as asker:
            assert asker.ask(StatusRequest(), 30) == StatusReply(status=beat(1))
    worker.stop(30)
    assert worker.failure is None


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=st.lists(st.binary(max_size=50), min_size=1, max_size=8))
def _throw(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
    socket.send_multipart(frames)


def test_a_small_file_cannot_take_gigabytes(start_daemon: Callable[..., object], endpoint: str, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "bomb.png").write_bytes(_zeros(17_000))
    start_daemon(f'kind = "folder"\npath = "{inbox}"')
    with Subscriber(endpoint) as subscriber:
        while not isinstance(message := subscriber.receive(60.0), Verdict):
            assert message is not None
    assert message.evaluation is Evaluation.NOT_DECIDABLE
    assert "no image that can be decoded" in message.reason


def _zeros(side: int) -> bytes:
    """A PNG of so many black pixels squared, in some hundred kilobytes."""
    packer = zlib.compressobj(1)
    rows = b"".join([*(packer.compress(bytes(side + 1)) for _ in range(side)), packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def test_nothing_larger_than_agreed_reaches_the_control(endpoint: str, tmp_path: Path) -> None:
    control = Control(ControlTable(bind=endpoint), SecurityTable())
    asked: list[StatusRequest] = []
    control.on(StatusRequest, lambda request: asked.append(request) or StatusReply(status=beat(1)))
    worker = Worker("control", control)
    worker.start()
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        socket.send(b'{"type":"status"}' + b" " * LONGEST_REQUEST)
        assert not socket.poll(500)
    worker.stop(30)
    assert asked == []
