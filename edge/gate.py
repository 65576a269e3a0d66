"""Who may connect: CurveZMQ on every socket that a network can reach, and the list of clients that are let in.

A socket without keys is refused an address that other machines can reach. libzmq asks about each new connection
(the ZAP protocol, RFC 27); the worker that owns the socket answers between two steps.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from types import TracebackType

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from edge.config import SecurityTable
from edge.keys import KeyFolder, Role
from edge.table import is_loopback
from engines.errors import ConfigError

_log = logging.getLogger(__name__)
_DOMAIN = "edge-inspect"
_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_ZAP_VERSION = b"1.0"
_ZAP_FRAMES = 7
_ANSWERS_A_STEP = 100
# A port scanner must not fill the disk with log lines.
_LOG_EVERY_S = 1.0
# libzmq does not tell these apart for certain.
_NO_HANDSHAKE = "no encryption, a wrong key of the station, or it broke off"
_BROKEN = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


def reachable(address: str) -> bool:
    """Whether other machines can reach a socket bound to this address, so that it needs keys."""
    scheme, _, rest = address.partition("://")
    if scheme != "tcp":
        return False
    return not is_loopback(rest.rpartition(":")[0].strip("[]"))


class Gate:
    """Guards the sockets of one context. Bind them after `guard`; call `attend` several times a second."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: KeyFolder) -> None:
        self._folder = folder
        self._key = folder.station_key()
        self._allowed = self._read_allowed()
        self._monitors: list[zmq.Socket[bytes]] = []
        self._guarded: list[zmq.Socket[bytes]] = []
        self._log = _Limited()
        self._questions = context.socket(zmq.REP)
        self._questions.setsockopt(zmq.LINGER, 0)
        self._questions.bind(_ZAP_ADDRESS)

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let only clients of the list connect to `socket`, encrypted. Call it before `bind`."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._key.secret.encode())
        # Enforced: without this gate nobody would be let in, instead of everybody.
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._guarded.append(socket)
        self._monitors.append(socket.get_monitor_socket(_BROKEN))

    def attend(self) -> None:
        """Answer those who knock, and log who was refused."""
        for _ in range(_ANSWERS_A_STEP):
            if not self._questions.poll(0):
                break
            self._questions.send_multipart(self._answer(self._questions.recv_multipart()))
        for monitor in self._monitors:
            for _ in range(_ANSWERS_A_STEP):
                if not monitor.poll(0):
                    break
                event = parse_monitor_message(monitor.recv_multipart())
                self._log.refused(f"on {event['endpoint'].decode()}", _NO_HANDSHAKE)

    def role(self, user_id: str) -> Role | None:
        """Role of the client that libzmq names in a message's `User-Id`; None for one that is not allowed any more."""
        return self._read_allowed().get(user_id)

    def lost_somebody(self) -> bool:
        """Whether a client has been revoked since the last call: libzmq does not end its connection by itself."""
        before, self._allowed = self._allowed, self._read_allowed()
        return not before.keys() <= self._allowed.keys()

    def close(self) -> None:
        """Let nobody in any more. Close it before the sockets that it guards."""
        for socket, monitor in zip(self._guarded, self._monitors, strict=True):
            socket.disable_monitor()
            # pyzmq leaves it to the garbage collector, and the context would wait for that.
            monitor.close(linger=0)
        self._questions.close()

    def _read_allowed(self) -> dict[str, Role]:
        try:
            return {client.name: client.role for client in self._folder.clients() if client.revoked is None}
        except ConfigError as error:
            self._log.refused("of everybody", str(error))
            return {}

    def _answer(self, question: list[bytes]) -> list[bytes]:
        version, request_id = (*question, b"", b"")[:2]
        refused = [_ZAP_VERSION, request_id, b"400", b"not allowed", b"", b""]
        if len(question) != _ZAP_FRAMES or version != _ZAP_VERSION or question[5] != b"CURVE":
            return refused
        public = z85.encode(question[6]).decode()
        client, why = self._find(public)
        if client is None:
            self._log.refused(f"from {question[3].decode('ascii', 'replace')}", why)
            return refused
        return [_ZAP_VERSION, request_id, b"200", b"OK", client.encode(), b""]

    def _find(self, public: str) -> tuple[str | None, str]:
        try:
            client = next((client for client in self._folder.clients() if client.public == public), None)
        except ConfigError as error:
            return None, str(error)
        if client is None:
            return None, "an unknown key"
        if client.revoked is not None:
            return None, f"the key of {client.name!r} was revoked at {client.revoked}"
        return client.name, ""


class _Limited:
    """A log of refusals with at most one line a second for each reason."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._untold: Counter[str] = Counter()

    def refused(self, whom: str, why: str) -> None:
        """Log one refusal, or count it for the next line."""
        if time.monotonic() < self._next.get(why, 0.0):
            self._untold[why] += 1
            return
        more = f" ({self._untold[why]} more since the last)" if self._untold[why] else ""
        _log.warning("refused a connection %s: %s%s", whom, why, more)
        self._next[why], self._untold[why] = time.monotonic() + _LOG_EVERY_S, 0


def open_gate(context: zmq.Context[zmq.Socket[bytes]], key: str, address: str, table: SecurityTable) -> Gate | None:
    """Return the gate for a socket that will be bound to `address`, or None where it needs none.

    Raises ConfigError that names `key`, where other machines can reach the address and there are no keys.
    """
    if table.keys is not None and address.startswith("tcp:"):
        return Gate(context, KeyFolder(table.keys))
    if reachable(address) and not table.allow_plain:
        raise ConfigError(
            f"{key}: other machines can reach {address}, which takes keys: make them with `edge-inspect keys new` and "
            "name their folder in `security.keys`, bind to tcp://127.0.0.1, or set `security.allow_plain = true` "
            "where the network is closed to everybody else"
        )
    return None
