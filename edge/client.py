"""The subscriber: receives verdicts and heartbeats, and tells of every gap and of silence."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType

import zmq

from edge.verdict import Heartbeat, MessageError, State, Verdict, decode
from engines.errors import InspectError, UsageError

SILENT_INTERVALS = 3
_LONGEST_MESSAGE = 1 << 20


class SilenceError(InspectError):
    """A publisher that is not there, or says nothing."""


@dataclass(frozen=True)
class Received:
    """One message, with the JSON it came as."""

    message: Verdict | Heartbeat
    raw: bytes


@dataclass(frozen=True)
class Gap:
    """Verdicts `first` to `last` of a station's session that were sent and never came."""

    station: str
    session_id: str
    first: int
    last: int


@dataclass(frozen=True)
class Silence:
    """A station that has not sent a heartbeat for `seconds`: it must be taken for dead. Told once until it speaks."""

    station: str
    seconds: float


@dataclass(frozen=True)
class Foreign:
    """A message that could not be understood, and why."""

    reason: str


Event = Received | Gap | Silence | Foreign


@dataclass
class _Station:
    session_id: str
    last_seq: int
    interval_s: float
    heard_at: float
    expected: bool = True


class SequenceWatch:
    """Checks the messages of any number of stations for gaps and silence. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._stations: dict[str, _Station] = {}

    def note(self, message: Verdict | Heartbeat, now: float) -> Gap | None:
        """Take one message into account; return what is missing before it."""
        known = self._stations.get(message.station)
        sent = message.seq if isinstance(message, Verdict) else message.last_seq
        before = sent - 1 if isinstance(message, Verdict) else sent
        if known is None:
            # Joined late: what was sent before is not missing, it was never asked for.
            known = _Station(message.session_id, before, interval_s=0.0, heard_at=now)
            self._stations[message.station] = known
        elif known.session_id != message.session_id:
            known.session_id, known.last_seq = message.session_id, 0
        gap = None
        if before > known.last_seq:
            gap = Gap(message.station, message.session_id, known.last_seq + 1, before)
        known.last_seq = max(known.last_seq, sent)
        if isinstance(message, Heartbeat):
            known.interval_s, known.heard_at = message.interval_s, now
            known.expected = message.state is not State.STOPPED
        return gap

    def silent(self, now: float) -> list[Silence]:
        """Stations that have just become silent; one that said Stopped owes nothing more."""
        found = []
        for name, station in self._stations.items():
            quiet_s = now - station.heard_at
            if station.expected and station.interval_s and quiet_s > SILENT_INTERVALS * station.interval_s:
                station.expected = False
                found.append(Silence(name, quiet_s))
        return found


class Subscriber:
    """A subscription to one daemon, or to several. Use it as a context manager, in one thread."""

    def __init__(self, *endpoints: str, station: str = "") -> None:
        self._endpoints = endpoints
        self._topic = f"{station}/" if station else ""
        self._watch = SequenceWatch()
        self._events: deque[Event] = deque()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    def __enter__(self) -> Subscriber:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LONGEST_MESSAGE)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, self._topic)
        for endpoint in self._endpoints:
            try:
                self._socket.connect(endpoint)
            except zmq.ZMQError as error:
                self.close()
                raise UsageError(
                    f"cannot connect to {endpoint!r}: {error.strerror}; expected an address like tcp://127.0.0.1:5555"
                ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket. Calling it twice is harmless."""
        if self._socket is not None:
            self._socket.close()
        if self._context is not None:
            self._context.term()
        self._socket = self._context = None

    def receive(self, timeout_s: float) -> Event | None:
        """Return the next event, or None when nothing happened within `timeout_s`. A gap comes before its message."""
        deadline = time.monotonic() + timeout_s
        while not self._events:
            now = time.monotonic()
            self._events.extend(self._watch.silent(now))
            if self._events:
                break
            if self._socket is None:
                raise UsageError("a Subscriber receives inside its `with` block only")
            # Short waits, so that silence is noticed in time.
            if self._socket.poll(int(1000 * min(max(deadline - now, 0.0), 0.1))):
                self._take(self._socket.recv_multipart())
            elif now >= deadline:
                return None
        return self._events.popleft()

    def _take(self, parts: list[bytes]) -> None:
        raw = parts[-1]
        try:
            message = decode(raw)
        except MessageError as error:
            self._events.append(Foreign(str(error)))
            return
        gap = self._watch.note(message, time.monotonic())
        if gap is not None:
            self._events.append(gap)
        self._events.append(Received(message, raw))
