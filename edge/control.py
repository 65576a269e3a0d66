"""The worker that takes requests to the running daemon: one ZeroMQ ROUTER socket, whatever is asked.

Who can answer a kind of request registers for it with `on`. What takes long is answered later, by a future, so that
nobody waits for another one's request.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import msgspec
import zmq

from edge.audit.recorder import Recorder
from edge.config import ControlTable, SecurityTable
from edge.gate import Gate, open_gate
from edge.keys import Role
from edge.requests import AUDITED, READING, Refused, Reply, Request, decode_request, encode
from edge.sockets import listen
from edge.verdict import MessageError
from edge.worker import Job
from engines.errors import InspectError

_log = logging.getLogger(__name__)
LONGEST_REQUEST = 1 << 16
_MOST_FRAMES = 4
_PATIENCE_MS = 50
_REQUESTS_A_STEP = 100
_MOST_UNDER_WAY = 64
_LINGER_MS = 500
_NOT_ALLOWED = "the key of this client does not allow that; `edge-inspect keys list` shows the roles"

_Asked = TypeVar("_Asked", bound=Request)
Answer = Reply | Future[Reply]


@dataclass(frozen=True)
class _UnderWay:
    envelope: list[bytes]
    request_id: str
    answer: Future[Reply]


class Control(Job):
    """Requests in, one reply for each. A request that cannot be understood or done is `Refused`, with the reason."""

    def __init__(self, table: ControlTable, security: SecurityTable, recorder: Recorder | None = None) -> None:
        self.endpoint = table.bind or ""
        self._bind = table.bind or ""
        self._security = security
        self._recorder = recorder
        self._answers: dict[type[Request], Callable[..., Answer]] = {}
        self._under_way: list[_UnderWay] = []
        self._open = ExitStack()
        self._socket: zmq.Socket[bytes] | None = None
        self._gate: Gate | None = None

    def on(self, kind: type[_Asked], answer: Callable[[_Asked], Answer]) -> None:
        """Have requests of one kind answered by `answer`, which runs in this worker's thread and must not wait."""
        self._answers[kind] = answer

    def setup(self) -> None:
        """Bind. Raises ConfigError that names the address when it is taken, impossible, or reachable without keys."""
        context: zmq.Context[zmq.Socket[bytes]] = self._open.enter_context(zmq.Context())
        self._socket = self._open.enter_context(context.socket(zmq.ROUTER))
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_REQUEST)
        self._gate = open_gate(context, "control.bind", self._bind, self._security)
        if self._gate is not None:
            self._open.enter_context(self._gate).guard(self._socket)
        self.endpoint = listen(self._socket, "control.bind", self._bind)

    def step(self, stopping: threading.Event) -> bool:
        """Answer what has come, and what has been done meanwhile. It never ends by itself."""
        if self._gate is not None:
            self._gate.attend()
        for _ in range(_REQUESTS_A_STEP):
            if self._socket is None or not self._socket.poll(0 if self._under_way else _PATIENCE_MS):
                break
            self._take(self._socket.recv_multipart(copy=False))
        if self._under_way:
            stopping.wait(_PATIENCE_MS / 1e3 / 5)
            self._tell_done()
        return True

    def teardown(self) -> None:
        """Close the socket; replies on their way have half a second."""
        self._open.close()
        self._socket = self._gate = None

    def _take(self, parts: list[zmq.Frame]) -> None:
        frames = [part.bytes for part in parts]
        # Whoever asks: a REQ socket puts an empty frame before its message, a DEALER may leave it out.
        *envelope, data = frames
        if not envelope or len(frames) > _MOST_FRAMES:
            return
        try:
            request = decode_request(data)
        except MessageError as error:
            self._send(envelope, Refused(reason=str(error)))
            return
        answer = self._answered(request) if self._may(parts[-1], request) else Refused(reason=_NOT_ALLOWED)
        if self._recorder is not None and isinstance(request, AUDITED):
            answer = self._recorder.answered(request, self._key_name(parts[-1]), answer)
        if isinstance(answer, Future):
            self._under_way.append(_UnderWay(envelope, request.request_id, answer))
        else:
            self._send(envelope, msgspec.structs.replace(answer, request_id=request.request_id))

    def _may(self, part: zmq.Frame, request: Request) -> bool:
        """Whether the client behind a message, as its encryption proves it, may ask this."""
        if self._gate is None:
            return True
        role = self._gate.role(str(part.get("User-Id")))
        return role is Role.CONTROL or (role is Role.READ and isinstance(request, READING))

    def _key_name(self, part: zmq.Frame) -> str | None:
        return None if self._gate is None else str(part.get("User-Id"))

    def _answered(self, request: Request) -> Answer:
        answer = self._answers.get(type(request))
        if answer is None:
            return Refused(reason="this station does not take such requests")
        if len(self._under_way) >= _MOST_UNDER_WAY:
            return Refused(reason=f"{_MOST_UNDER_WAY} requests are being worked on; try again when some are done")
        try:
            return answer(request)
        except Exception as error:
            return _refusal(error)

    def _tell_done(self) -> None:
        waiting, self._under_way = self._under_way, []
        for each in waiting:
            if not each.answer.done():
                self._under_way.append(each)
                continue
            error = each.answer.exception()
            reply = _refusal(error) if error is not None else each.answer.result()
            self._send(each.envelope, msgspec.structs.replace(reply, request_id=each.request_id))

    def _send(self, envelope: list[bytes], reply: Reply) -> None:
        if self._socket is not None:
            # A ROUTER drops what is for somebody who has gone or does not read; it never waits.
            self._socket.send_multipart([*envelope, encode(reply)])


def _refusal(error: BaseException) -> Refused:
    if not isinstance(error, InspectError):
        _log.error("a request failed", exc_info=error)
    return Refused(reason=str(error) or type(error).__name__)
