"""The worker that shows pictures: the newest part of each camera that somebody watches, and no more than eyes need.

Nothing here may hold up a verdict. The publisher hands over references and never waits; this thread gives way to all
others, encodes nothing while nobody watches, and drops what is not the newest. A slow watcher loses pictures. Who
begins to watch is shown the last part at once, for the next one may be a minute away.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack

import cv2
import zmq

from edge.inspector import Judgement
from edge.live.picture import encode, topic_of
from edge.live.table import LiveTable
from edge.sockets import listen
from edge.verdict import Verdict
from edge.worker import Job, give_way

_log = logging.getLogger(__name__)
_IDLE_MS = 50
_WATCHED_S = 0.01
_SUBSCRIPTIONS_A_STEP = 100
_LONGEST_SUBSCRIPTION = 256
_MOST_SUBSCRIPTIONS = 1000
# A picture that waits for a slow watcher is no longer the newest.
_HIGH_WATER = 2


class LiveFeed(Job):
    """Pictures of one station, on a socket of their own. `offer` is for the publisher's thread alone."""

    def __init__(self, table: LiveTable) -> None:
        self.endpoint = table.bind or ""
        self._table = table
        self._bind = table.bind or ""
        self._watched: frozenset[bytes] = frozenset()
        self._newest: dict[str, tuple[Verdict, Judgement]] = {}
        self._shown: dict[str, tuple[Verdict, Judgement]] = {}
        self._due: dict[str, float] = {}
        self._open = ExitStack()
        self._socket: zmq.Socket[bytes] | None = None

    def offer(self, verdict: Verdict, judgement: Judgement) -> None:
        """Show a part whose verdict was sent, if nothing newer comes. It never waits and never fails."""
        self._newest[judgement.camera] = verdict, judgement

    def setup(self) -> None:
        """Bind. Raises ConfigError that names the address when it is taken or impossible."""
        give_way()
        context: zmq.Context[zmq.Socket[bytes]] = self._open.enter_context(zmq.Context())
        self._socket = self._open.enter_context(context.socket(zmq.XPUB))
        self._socket.set_hwm(_HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, 0)
        # Otherwise only the first to watch a camera would be noticed.
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_SUBSCRIPTION)
        self.endpoint = listen(self._socket, "live.bind", self._bind)

    def step(self, stopping: threading.Event) -> bool:
        """Show what is due. It never ends by itself."""
        self._notice_watchers(0 if self._watched else _IDLE_MS)
        if self._watched:
            for camera, newest in list(self._newest.items()):
                if newest is not self._shown.get(camera) and time.monotonic() >= self._due.get(camera, 0.0):
                    self._show(camera, newest)
            stopping.wait(_WATCHED_S)
        return True

    def teardown(self) -> None:
        """Close the socket."""
        self._open.close()
        self._socket = None
        self._watched = frozenset()
        self._shown.clear()

    def _show(self, camera: str, newest: tuple[Verdict, Judgement]) -> None:
        if self._socket is None or not self._is_watched(camera):
            return
        self._shown[camera] = newest
        self._due[camera] = time.monotonic() + 1.0 / self._table.rate
        try:
            frames = encode(*newest, self._table)
        except cv2.error as error:
            _log.warning("camera %s: a live picture cannot be encoded: %s", camera, error)
            return
        if frames is not None:
            self._socket.send_multipart(frames)

    def _is_watched(self, camera: str) -> bool:
        return any(topic_of(camera).encode().startswith(topic) for topic in self._watched)

    def _notice_watchers(self, patience_ms: int) -> None:
        # Everybody who subscribes is told, and the last to leave a topic, also one whose connection has ended.
        for number in range(_SUBSCRIPTIONS_A_STEP):
            if self._socket is None or not self._socket.poll(0 if number else patience_ms):
                return
            told = self._socket.recv()
            if told[:1] == b"\x01" and len(self._watched) < _MOST_SUBSCRIPTIONS:
                self._watched |= {told[1:]}
                self._shown.clear()
            elif told[:1] == b"\x00":
                self._watched -= {told[1:]}
