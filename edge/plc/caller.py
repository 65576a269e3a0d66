"""The gateway's line to the daemon's control socket: triggers and changes of recipe, without waiting for the answer."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import zmq

from edge.plc.output import Output, OutputError
from edge.plc.signals import Action, Ask
from edge.requests import AnyReply, decode_reply, encode
from edge.sockets import LONGEST_MESSAGE, connect
from edge.verdict import MessageError

_REPLIES_A_TURN = 16


class Caller(Output):
    """Sends requests. One that nobody is there to take is an error at once: a trigger must not come later."""

    def __init__(self, endpoint: str, key: Path | None) -> None:
        self._endpoint = endpoint
        self._key = key
        self._stack = ExitStack()
        self._socket: zmq.Socket[bytes] | None = None

    def open(self) -> None:
        """Connect. Raises UsageError for what is no address, ConfigError for what is no key."""
        context: zmq.Context[zmq.Socket[bytes]] = self._stack.enter_context(zmq.Context())
        self._socket = self._stack.enter_context(context.socket(zmq.DEALER))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_MESSAGE)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        connect(self._socket, (self._endpoint,), self._key)

    def carry_out(self, action: Action) -> None:
        """Send a request. Raises OutputError where vision is not connected."""
        if not isinstance(action, Ask) or self._socket is None:
            return
        try:
            self._socket.send(encode(action.request), zmq.NOBLOCK)
        except zmq.Again:
            raise OutputError(
                f"vision takes no request at {self._endpoint}; is it running, with [control] bind?"
            ) from None

    def replies(self) -> list[AnyReply]:
        """What vision has answered meanwhile; what is no answer is left out."""
        found: list[AnyReply] = []
        for _ in range(_REPLIES_A_TURN):
            if self._socket is None or not self._socket.poll(0):
                break
            try:
                found.append(decode_reply(self._socket.recv_multipart()[-1]))
            except MessageError:
                continue
        return found

    def close(self) -> None:
        """Disconnect."""
        self._stack.close()
        self._socket = None
