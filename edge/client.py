"""The subscriber: returns verdicts and heartbeats, and raises where one is missing or a station falls silent.

    with Subscriber("tcp://127.0.0.1:5555") as subscriber:
        while True:
            message = subscriber.receive(timeout_s=1.0)

A gap is filled from the daemon's memory where the address of its control socket is given.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import zmq

from edge.refill import Refill
from edge.sequence import SILENT_INTERVALS, Gap, SequenceWatch, Silence
from edge.sockets import LONGEST_MESSAGE, connect
from edge.verdict import Heartbeat, MessageError, Verdict, decode
from engines.errors import InspectError, UsageError

_FRAMES_A_MESSAGE = 2
# The message that shows a gap waits so long for what came before it, at most.
_REFILL_S = 0.5


class SilenceError(InspectError):
    """A station that says nothing: it must be taken for dead, and its parts be rejected."""

    def __init__(self, message: str, station: str = "", seconds: float = 0.0) -> None:
        super().__init__(message)
        self.station = station
        self.seconds = seconds


class GapError(InspectError):
    """Verdicts `gap.first` to `gap.last` that were sent and never came: their parts must be rejected."""

    def __init__(self, gap: Gap) -> None:
        number = gap.last - gap.first + 1
        super().__init__(f"{gap.station}: {number} verdict(s) never came, numbers {gap.first} to {gap.last}")
        self.gap = gap


class Subscriber:
    """A subscription to one daemon, or to several. Use it as a context manager, in one thread.

    `control` is the daemon's control socket, which fills gaps; several daemons take a Subscriber each for that. `key`
    is the file that `edge-inspect keys new` made for this client. `raw` holds the JSON that the message returned last
    came as.
    """

    def __init__(self, *endpoints: str, station: str = "", control: str | None = None, key: Path | None = None) -> None:
        self.raw = b""
        self._endpoints = endpoints
        self._key = key
        self._topic = f"{station}/" if station else ""
        self._open = ExitStack()
        self._refill = None if control is None else Refill(control, key)
        self._watch = SequenceWatch()
        self._waiting: deque[tuple[bytes, Verdict | Heartbeat] | InspectError] = deque()
        self._socket: zmq.Socket[bytes] | None = None

    def __enter__(self) -> Subscriber:
        context: zmq.Context[zmq.Socket[bytes]] = self._open.enter_context(zmq.Context())
        self._socket = self._open.enter_context(context.socket(zmq.SUB))
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_MESSAGE)
        self._socket.setsockopt_string(zmq.SUBSCRIBE, self._topic)
        try:
            connect(self._socket, self._endpoints, self._key)
            if self._refill is not None:
                self._open.enter_context(self._refill)
        except InspectError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets. Calling it twice is harmless."""
        self._open.close()
        self._socket = None

    def receive(self, timeout_s: float) -> Verdict | Heartbeat | None:
        """Return the next message, or None when none came within `timeout_s`; every verdict is returned once.

        Raises GapError before the message that shows the gap, SilenceError once when a station has missed three
        heartbeats, and MessageError for bytes that are no message. After each of them it can be called again.
        """
        deadline = time.monotonic() + timeout_s
        while not self._waiting:
            if self._socket is None:
                raise UsageError("a Subscriber receives inside its `with` block only")
            # Short waits, so that silence is noticed in time.
            wait_s = min(max(deadline - time.monotonic(), 0.0), 0.1)
            if self._socket.poll(math.ceil(1000 * wait_s)):
                self._take(self._socket.recv_multipart())
            else:
                # Only now: what had come already while nobody called was no silence.
                self._waiting.extend(_silence_error(found) for found in self._watch.silent(time.monotonic()))
                if not self._waiting and time.monotonic() >= deadline:
                    return None
        first = self._waiting.popleft()
        if isinstance(first, InspectError):
            raise first
        self.raw, message = first
        return message

    def _filled(self, gap: Gap) -> list[tuple[bytes, Verdict] | GapError]:
        found = self._refill.fetch(gap, _REFILL_S) if self._refill is not None else {}
        filled: list[tuple[int, tuple[bytes, Verdict] | GapError]] = list(found.items())
        filled.extend((rest.first, GapError(rest)) for rest in _missing(gap, found))
        return [item for _, item in sorted(filled, key=lambda numbered: numbered[0])]

    def _take(self, parts: list[bytes]) -> None:
        raw = parts[-1]
        try:
            if len(parts) != _FRAMES_A_MESSAGE:
                raise MessageError(f"expected a topic and a message, found {len(parts)} frames")
            message = decode(raw)
        except MessageError as error:
            self._waiting.append(error)
            return
        if self._watch.repeated(message):
            return
        gap = self._watch.note(message, time.monotonic())
        if gap is not None:
            self._waiting.extend(self._filled(gap))
        self._waiting.append((raw, message))


def _missing(gap: Gap, found: Iterable[int]) -> Iterator[Gap]:
    """What is left of a gap. It is not counted through: a wrong number on the wire may make it endless."""
    first = gap.first
    for number in (*sorted(found), gap.last + 1):
        if number > first:
            yield Gap(gap.station, gap.session_id, first, number - 1)
        first = number + 1


def _silence_error(silence: Silence) -> SilenceError:
    return SilenceError(
        f"{silence.station}: no heartbeat for {silence.seconds:.1f} s ({SILENT_INTERVALS} intervals)",
        silence.station,
        silence.seconds,
    )
