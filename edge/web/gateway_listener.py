"""The thread that listens to the gateway's heartbeats, and tells the scene what it hears, or since when nothing."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import zmq

from edge.plc.heartbeat import GatewayHeartbeat, GatewayState, decode, gateway_topic
from edge.sequence import SILENT_INTERVALS
from edge.sockets import LONGEST_MESSAGE, connect
from edge.verdict import MessageError
from edge.web.pages import local
from edge.web.scene import Scene
from edge.worker import Job
from engines.errors import UsageError

_log = logging.getLogger(__name__)
_PATIENCE_MS = 100


class GatewayListener(Job):
    """Subscribes to one station's gateway. Whatever comes, it goes on listening."""

    def __init__(self, scene: Scene, address: str, station: str, key: Path | None) -> None:
        self._scene = scene
        self._address = address
        self._topic = gateway_topic(station)
        self._key = key
        self._open = ExitStack()
        self._socket: zmq.Socket[bytes] | None = None
        self._heard: GatewayHeartbeat | None = None
        self._heard_at = datetime.min
        self._silent_at = float("inf")

    def setup(self) -> None:
        """Connect. Raises UsageError for what is no address, ConfigError for what is no key."""
        self._scene.hear_gateway(None, "no news of it yet")
        context: zmq.Context[zmq.Socket[bytes]] = self._open.enter_context(zmq.Context())
        self._socket = self._open.enter_context(context.socket(zmq.SUB))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_MESSAGE)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, self._topic)
        connect(self._socket, [self._address], self._key)

    def step(self, stopping: threading.Event) -> bool:
        """Take in the next heartbeat, or notice that none comes. It never ends by itself."""
        if self._socket is None:
            raise UsageError("heartbeats are taken after setup only")
        if self._socket.poll(_PATIENCE_MS):
            self._take(self._socket.recv_multipart()[-1])
        elif time.monotonic() > self._silent_at:
            self._silent_at = float("inf")
            self._scene.hear_gateway(self._heard, f"no news since {local(self._heard_at)}")
        return True

    def teardown(self) -> None:
        """Close the socket."""
        self._open.close()
        self._socket = None

    def _take(self, data: bytes) -> None:
        try:
            self._heard = decode(data)
        except MessageError as error:
            _log.warning("not understood: %s", error)
            return
        self._heard_at = datetime.now()
        # One that has said good-bye is not missed.
        stopped = self._heard.condition.state is GatewayState.STOPPED
        self._silent_at = float("inf") if stopped else time.monotonic() + SILENT_INTERVALS * self._heard.interval_s
        self._scene.hear_gateway(self._heard)
