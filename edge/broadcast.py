"""A socket that tells everybody who subscribes: encrypted where a network reaches it, and waiting for no reader."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

import zmq

from edge.config import SecurityTable
from edge.gate import Gate, open_gate
from edge.sockets import listen

_log = logging.getLogger(__name__)
_LINGER_MS = 2000
# How soon a revoked client is cut off.
_GATE_CHECK_S = 1.0
# A peer that floods the socket must neither hold up messages nor fill the memory.
_SUBSCRIPTIONS_A_STEP = 100
_LONGEST_SUBSCRIPTION = 1024


class Broadcast:
    """One XPUB socket, which is PUB that lets us see subscriptions come in. All of it belongs to one thread.

    `key` is the station file's, for messages. What a reader is too slow for, beyond `high_water` messages, it loses.
    """

    def __init__(self, key: str, bind: str, security: SecurityTable, high_water: int) -> None:
        self.endpoint = bind
        self._key = key
        self._bind = bind
        self._security = security
        self._high_water = high_water
        self._stack = ExitStack()
        self._socket: zmq.Socket[bytes] | None = None
        self._gate: Gate | None = None
        self._gate_due = 0.0

    def open(self) -> None:
        """Bind. Raises ConfigError that names the address when it is taken, impossible, or reachable without keys."""
        context: zmq.Context[zmq.Socket[bytes]] = self._stack.enter_context(zmq.Context())
        self._socket = self._stack.enter_context(context.socket(zmq.XPUB))
        self._socket.set_hwm(self._high_water)
        self._socket.setsockopt(zmq.LINGER, _LINGER_MS)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_SUBSCRIPTION)
        # Otherwise only the first subscription to a topic would be seen, and later readers not be told the last value.
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._gate = open_gate(context, self._key, self._bind, self._security)
        if self._gate is not None:
            self._stack.enter_context(self._gate).guard(self._socket)
        self.endpoint = listen(self._socket, self._key, self._bind)

    def attend(self) -> None:
        """Let in who may come, and cut off who may not any more. Call it several times a second."""
        if self._gate is None:
            return
        self._gate.attend()
        if time.monotonic() < self._gate_due:
            return
        self._gate_due = time.monotonic() + _GATE_CHECK_S
        if self._gate.lost_somebody():
            # The only way to end one connection: all of them end, and those still allowed come back by themselves.
            _log.warning("a client has been revoked: every subscriber has to connect again")
            self.close()
            self.open()

    def has_newcomers(self) -> bool:
        """Whether somebody has subscribed since the last call."""
        new = False
        for _ in range(_SUBSCRIPTIONS_A_STEP):
            if self._socket is None or not self._socket.poll(0, zmq.POLLIN):
                break
            new |= self._socket.recv()[:1] == b"\x01"
        return new

    def send(self, topic: str, message: bytes) -> None:
        """Send one message to whoever has subscribed to its topic."""
        if self._socket is None:
            raise RuntimeError("the socket is not open")
        self._socket.send_multipart([topic.encode(), message])

    def close(self) -> None:
        """Close the socket; what subscribers have not taken yet is still sent, for two seconds at most."""
        self._stack.close()
        self._socket = self._gate = None
