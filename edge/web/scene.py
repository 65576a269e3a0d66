"""What the page shows of the station: the newest heartbeat, the last parts, and what can be counted of them.

One thread writes it, the event loop reads. Readers keep their place in one ring of parts that all share, so that a slow
one takes no memory: what it is too slow for it never gets.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec
import numpy as np

from edge.plc.heartbeat import GatewayHeartbeat
from edge.verdict import Heartbeat, Verdict

LAST_PARTS = 600
_WINDOW_S = 60.0
_MOST_TIMES = 6000
_LAST_MARKS = 20
_SHORTEST_S = 1.0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict, as the page needs it. Times in milliseconds, `captured_at` in ISO 8601."""

    seq: int
    session_id: str
    camera: str
    recipe: str
    name: str
    evaluation: str
    reason: str
    score: float | None
    threshold: float
    review: bool
    captured_at: str
    total_ms: float


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A watch over drift that began to alarm before the verdict `seq`."""

    camera: str
    watch: str
    session_id: str
    seq: int


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Of the last minute: parts a minute, and the time from capture to verdict in milliseconds, median and 99 %."""

    parts_a_minute: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway to the PLC. `trouble` says since when nothing is heard of it; empty while it speaks."""

    heartbeat: GatewayHeartbeat | None
    trouble: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page shows besides the parts. `trouble` says what keeps the page from hearing the station.

    `gateway` is None where the station has none that speaks.
    """

    station: str
    heartbeat: Heartbeat | None
    trouble: str
    missed: int
    paces: dict[str, Pace]
    marks: tuple[Mark, ...]
    gateway: Gateway | None


class Scene:
    """The newest state of one station. `on_change` is called, in the writer's thread, after every change."""

    def __init__(
        self, station: str, on_change: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._station = station
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._heartbeat: Heartbeat | None = None
        self._gateway: Gateway | None = None
        self._trouble = "not heard from the station yet"
        self._missed = 0
        self._parts: deque[bytes] = deque(maxlen=LAST_PARTS)
        self._written = 0
        self._changes = 0
        self._times: dict[str, deque[tuple[float, float]]] = {}
        self._marks: deque[Mark] = deque(maxlen=_LAST_MARKS)

    def hear(self, message: Verdict | Heartbeat) -> None:
        """Take in one message."""
        with self._lock:
            self._trouble = ""
            if isinstance(message, Verdict):
                self._add(message)
            else:
                self._marks.extend(_new_alarms(self._heartbeat, message))
                self._heartbeat = message
                self._changes += 1
        self._on_change()

    def lack(self, trouble: str) -> None:
        """Say that nothing is heard, and why."""
        with self._lock:
            self._trouble = trouble
            self._changes += 1
        self._on_change()

    def hear_gateway(self, heartbeat: GatewayHeartbeat | None, trouble: str = "") -> None:
        """Take in how the gateway is; or, with `trouble`, how it last was and what keeps the page from hearing it."""
        with self._lock:
            self._gateway = Gateway(heartbeat=heartbeat, trouble=trouble)
            self._changes += 1
        self._on_change()

    def miss(self, number: int) -> None:
        """Count verdicts that were sent and never came here."""
        with self._lock:
            self._missed += number
            self._changes += 1

    @property
    def changes(self) -> int:
        """Grows with each heartbeat and trouble, so that a reader knows when to look again."""
        return self._changes

    def parts_since(self, place: int) -> tuple[int, list[bytes]]:
        """The parts after `place`, each as JSON, as far as they are still there; and the next place."""
        with self._lock:
            new = min(self._written - place, len(self._parts))
            return self._written, list(self._parts)[len(self._parts) - new :] if new > 0 else []

    def shown(self) -> bytes:
        """The state of this moment as JSON."""
        with self._lock:
            heartbeat, trouble, missed, marks = self._heartbeat, self._trouble, self._missed, tuple(self._marks)
            gateway = self._gateway
            paces = {camera: self._pace(times) for camera, times in self._times.items()}
        shown = Shown(
            station=self._station,
            heartbeat=heartbeat,
            trouble=trouble,
            missed=missed,
            paces=paces,
            marks=marks,
            gateway=gateway,
        )
        return msgspec.json.encode(shown)

    def _add(self, verdict: Verdict) -> None:
        self._parts.append(msgspec.json.encode(_part(verdict)))
        self._written += 1
        times = self._times.setdefault(verdict.camera, deque(maxlen=_MOST_TIMES))
        times.append((self._clock(), verdict.stage_ms.total))

    def _pace(self, times: deque[tuple[float, float]]) -> Pace:
        now = self._clock()
        recent = [(at, ms) for at, ms in times if at > now - _WINDOW_S]
        if not recent:
            return Pace()
        # Not over the whole minute where they began, or were pushed out, within it.
        whole = len(recent) < len(times)
        span_s = _WINDOW_S if whole else max(now - recent[0][0], _SHORTEST_S)
        p50, p99 = np.percentile([ms for _, ms in recent], (50, 99))
        return Pace(parts_a_minute=len(recent) * 60.0 / span_s, p50_ms=float(p50), p99_ms=float(p99))


def _part(verdict: Verdict) -> Part:
    return Part(
        seq=verdict.seq,
        session_id=verdict.session_id,
        camera=verdict.camera,
        recipe=verdict.recipe,
        name=verdict.part_id if verdict.part_id is not None else f"frame {verdict.frame_id}",
        evaluation=verdict.evaluation.value,
        reason=verdict.reason,
        score=verdict.score,
        threshold=verdict.threshold,
        review=verdict.review,
        captured_at=verdict.captured_at,
        total_ms=verdict.stage_ms.total,
    )


def _new_alarms(before: Heartbeat | None, now: Heartbeat) -> list[Mark]:
    same = before is not None and before.session_id == now.session_id
    old = {
        (camera, name)
        for camera, status in (before.cameras.items() if before is not None and same else ())
        for name, drift in status.drift.items()
        if drift.alarm
    }
    return [
        Mark(camera=camera, watch=name, session_id=now.session_id, seq=now.last_seq)
        for camera, status in now.cameras.items()
        for name, drift in status.drift.items()
        if drift.alarm and (camera, name) not in old
    ]
