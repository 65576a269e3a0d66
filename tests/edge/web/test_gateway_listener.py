"""What the page shows of a gateway that speaks, falls silent, speaks nonsense, or says good-bye."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
import zmq

from edge.plc.heartbeat import GatewayHeartbeat, GatewayState, encode
from edge.web.gateway_listener import GatewayListener
from edge.web.scene import Gateway, Scene, Shown
from edge.worker import Worker
from tests.edge.foreign_bytes import GATEWAY

PATIENCE_S = 30.0
BEAT = msgspec.structs.replace(GATEWAY, station="cell-7", interval_s=0.1)


class Shows:
    """A listener that runs, the gateway that it hears, and what is shown of it."""

    def __init__(self, scene: Scene, socket: zmq.Socket[bytes]) -> None:
        self._scene = scene
        self._socket = socket

    def say(self, message: bytes) -> None:
        self._socket.send_multipart([b"cell-7/gateway", message])

    def until(self, enough: Callable[[Gateway], object]) -> Gateway:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            gateway = msgspec.json.decode(self._scene.shown(), type=Shown).gateway
            if gateway is not None and enough(gateway):
                return gateway
            assert time.monotonic() < deadline, gateway
            time.sleep(0.01)


@pytest.fixture
def shows(endpoint: str) -> Iterator[Shows]:
    scene = Scene("cell-7", lambda: None)
    worker = Worker("gateway listener", GatewayListener(scene, endpoint, "cell-7", None))
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(endpoint)
        worker.start()
        socket.recv()
        yield Shows(scene, socket)
        worker.stop(PATIENCE_S)
        assert worker.failure is None


def test_silence_is_told_with_its_beginning_and_ends_with_the_next_word(shows: Shows) -> None:
    assert shows.until(lambda gateway: gateway.trouble).trouble == "no news of it yet"
    shows.say(encode(BEAT))
    assert shows.until(lambda gateway: not gateway.trouble).heartbeat == BEAT
    silent = shows.until(lambda gateway: gateway.trouble)
    assert silent.trouble.startswith(f"no news since {time.strftime('%Y-')}")
    assert silent.heartbeat == BEAT
    shows.say(encode(BEAT))
    shows.until(lambda gateway: not gateway.trouble)


def test_nonsense_is_no_news(shows: Shows) -> None:
    for nonsense in (b"", b"{}", encode(msgspec.structs.replace(BEAT, schema=9))):
        shows.say(nonsense)
    shows.say(encode(BEAT))
    assert shows.until(lambda gateway: gateway.heartbeat).heartbeat == BEAT


def test_one_that_has_said_good_bye_is_not_called_silent(shows: Shows) -> None:
    stopped = msgspec.structs.replace(BEAT.condition, state=GatewayState.STOPPED)
    last: GatewayHeartbeat = msgspec.structs.replace(BEAT, condition=stopped)
    shows.say(encode(last))
    shows.until(lambda gateway: gateway.heartbeat == last)
    threading.Event().wait(5 * BEAT.interval_s)
    assert shows.until(lambda gateway: True).trouble == ""
