"""The thread that fetches live pictures, of those cameras that a browser watches and only then."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, suppress

import msgspec
import zmq

from edge.live.picture import LONGEST_FRAME, topic_of
from edge.sockets import connect
from edge.web.bell import Bell
from edge.worker import Job
from engines.errors import UsageError

_log = logging.getLogger(__name__)
_PATIENCE_MS = 50
_FRAMES_A_MESSAGE = 4
# A camera that nobody has asked for so long is watched no more.
_WATCHED_S = 3.0


class Pictures(Job):
    """The newest picture of each camera, numbered from 1 on. `newest` is for the event loop."""

    def __init__(self, address: str, bell: Bell) -> None:
        self._address = address
        self._bell = bell
        self._wanted: dict[str, float] = {}
        self._subscribed: set[str] = set()
        self._newest: dict[str, tuple[int, bytes]] = {}
        self._number = 0
        self._open = ExitStack()
        self._socket: zmq.Socket[bytes] | None = None

    async def newest(self, camera: str, after: int, timeout_s: float) -> bytes | None:
        """The newest picture of a camera, if it is not number `after`; waits for one, and gives None after a while."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._wanted[camera] = time.monotonic()
            number, body = self._newest.get(camera, (after, b""))
            if number != after:
                return body
            await self._bell.wait(min(1.0, timeout_s))
        return None

    def setup(self) -> None:
        """Connect. Raises UsageError for what is no address."""
        context: zmq.Context[zmq.Socket[bytes]] = self._open.enter_context(zmq.Context())
        self._socket = self._open.enter_context(context.socket(zmq.SUB))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 2)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_FRAME)
        connect(self._socket, [self._address], None)

    def step(self, stopping: threading.Event) -> bool:
        """Take in what has come. It never ends by itself."""
        if self._socket is None:
            raise UsageError("pictures are taken after setup only")
        self._subscribe(self._socket)
        if self._socket.poll(_PATIENCE_MS):
            self._take(self._socket.recv_multipart())
        return True

    def teardown(self) -> None:
        """Close the socket."""
        self._open.close()
        self._socket = None
        self._subscribed.clear()

    def _subscribe(self, socket: zmq.Socket[bytes]) -> None:
        since = time.monotonic() - _WATCHED_S
        wanted = {camera for camera, at in list(self._wanted.items()) if at > since}
        for camera in wanted - self._subscribed:
            socket.setsockopt_string(zmq.SUBSCRIBE, topic_of(camera))
        for camera in self._subscribed - wanted:
            socket.setsockopt_string(zmq.UNSUBSCRIBE, topic_of(camera))
            # Or who comes back later would be shown an old picture as the newest.
            self._newest.pop(camera, None)
        self._subscribed = wanted

    def _take(self, frames: list[bytes]) -> None:
        if len(frames) != _FRAMES_A_MESSAGE:
            _log.warning("expected a live picture of %d frames, found %d", _FRAMES_A_MESSAGE, len(frames))
            return
        topic, head, picture, grey = frames
        with suppress(msgspec.DecodeError):
            told = msgspec.json.decode(head, type=dict[str, object])
            self._number += 1
            body = _body({**told, "number": self._number, "picture_bytes": len(picture)}, picture, grey)
            self._newest[topic.decode("utf-8", "replace").removesuffix("/")] = self._number, body
            self._bell.ring()


def _body(head: dict[str, object], picture: bytes, grey: bytes) -> bytes:
    """As one answer: four bytes for the length of the head, the head, the JPEG, and the map's PNG if there is one."""
    told = msgspec.json.encode(head)
    return len(told).to_bytes(4, "big") + told + picture + grey
