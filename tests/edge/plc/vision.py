"""A vision process as the gateway knows it: a socket that says what the test wants, with gapless numbers."""

from __future__ import annotations

import time
from types import TracebackType

import msgspec
import zmq

from edge.verdict import Evaluation, Heartbeat, State, Verdict, encode
from tests.edge.messages import beat, verdict

STATION = "cell-7"


class Vision:
    """Publishes on an address of loopback. Use it as a context manager."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._seq = 0

    def __enter__(self) -> Vision:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.bind(self._endpoint)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def wait_for_subscriber(self) -> None:
        """Return when the gateway has subscribed."""
        self._socket.recv()

    def beat(self, state: State = State.RUNNING) -> None:
        """Send one heartbeat."""
        self._send(beat(self._seq, session="s1", station=STATION, state=state))

    def judge(self, part: int, evaluation: Evaluation = Evaluation.OK, camera: str = "top", sent: bool = True) -> None:
        """Send a verdict, or lose it on the way."""
        self._seq += 1
        changes = {"part_id": f"{part:05d}.png", "evaluation": evaluation, "camera": camera}
        message = msgspec.structs.replace(verdict(self._seq, session="s1", station=STATION), **changes)
        if sent:
            self._send(msgspec.structs.replace(message, captured_ns=time.monotonic_ns()))

    def _send(self, message: Verdict | Heartbeat) -> None:
        kind = "verdict" if isinstance(message, Verdict) else "heartbeat"
        self._socket.send_multipart([f"{STATION}/{kind}".encode(), encode(message)])
