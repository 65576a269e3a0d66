"""What the station and each of its cameras can do now and what has happened so far, as the heartbeat tells it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from calibration.charts import ControlCharts
from calibration.drift import Drift
from edge.verdict import Counters, Evaluation, State

NEWER_FRAME, LOST_BEFORE, CLOSED = "newer frame", "lost before the daemon", "pipeline closed"
DROP_CAUSES = (NEWER_FRAME, LOST_BEFORE, CLOSED)


@dataclass(frozen=True)
class Condition:
    """The state, why it is not Running, and since when (monotonic, in seconds)."""

    state: State
    reason: str
    since: float


class CameraHealth:
    """State and counters of one camera and what judges its frames. Safe to use from every thread.

    A fault holds the state at Degraded for as long as it is there. Disarmed is for good.
    """

    def __init__(self, name: str, lock: threading.RLock, changed: Callable[[], None]) -> None:
        self.name = name
        self._lock = lock
        self._changed = changed
        self._phase = State.STARTING
        self._disarmed = ""
        self._faults: dict[str, str] = {}
        self._condition = Condition(State.STARTING, "", time.monotonic())
        self._tally: Counter[str] = Counter()
        self._evaluations: Counter[Evaluation] = Counter()
        self._dropped: Counter[str] = Counter()
        self._restarts: Counter[str] = Counter()
        self.drift: Drift | None = None
        """The watches over this camera's parts. Whoever judges them counts; others only look."""
        self.charts: ControlCharts | None = None
        """The guards' control charts, likewise."""

    @property
    def condition(self) -> Condition:
        """The present state."""
        return self._condition

    def fault(self, source: str, reason: str) -> None:
        """Report that a part of this camera's lane cannot work now, e.g. the camera because it is absent."""
        with self._lock:
            self._faults[source] = reason
            self._refresh()

    def clear(self, source: str) -> None:
        """Take back the fault of one part of the lane."""
        with self._lock:
            if self._faults.pop(source, None) is not None:
                self._refresh()

    def disarm(self, reason: str) -> None:
        """No frame of this camera is judged any more, until the daemon is started again."""
        with self._lock:
            self._disarmed = reason
            self._refresh()

    def enter(self, phase: State) -> None:
        """Go to the next phase of the daemon's life."""
        with self._lock:
            self._phase = phase
            self._refresh()

    def count_frame(self, number: int = 1) -> None:
        """Count frames taken from the camera, triggers whose frame never came among them."""
        with self._lock:
            self._tally["frames"] += number

    def count_verdict(self, evaluation: Evaluation) -> None:
        """Count one verdict that was sent."""
        with self._lock:
            self._evaluations[evaluation] += 1

    def count_drop(self, cause: str, number: int = 1) -> None:
        """Count frames that were taken and will have no verdict."""
        with self._lock:
            self._dropped[cause] += number

    def count_reconnect(self) -> None:
        """Count one return of the camera."""
        with self._lock:
            self._tally["reconnects"] += 1

    def count_restart(self, worker: str) -> None:
        """Count one worker that failed and was started again."""
        with self._lock:
            self._restarts[worker] += 1

    @property
    def counters(self) -> Counters:
        """The counters of this moment."""
        with self._lock:
            return Counters(
                frames=self._tally["frames"],
                ok=self._evaluations[Evaluation.OK],
                not_ok=self._evaluations[Evaluation.NOT_OK],
                not_decidable=self._evaluations[Evaluation.NOT_DECIDABLE],
                reconnects=self._tally["reconnects"],
                dropped=dict(self._dropped),
                restarts=dict(self._restarts),
            )

    def _refresh(self) -> None:
        state, reason = self._phase, ""
        if self._disarmed and state in (State.STARTING, State.RUNNING):
            state, reason = State.DISARMED, self._disarmed
        elif self._faults and state in (State.STARTING, State.RUNNING):
            reason = "; ".join(self._faults.values())
            state = State.DEGRADED if state is State.RUNNING else state
        if (state, reason) != (self._condition.state, self._condition.reason):
            since = self._condition.since if state is self._condition.state else time.monotonic()
            self._condition = Condition(state, reason, since)
            self._changed()


class Health:
    """State and counters of one station. Safe to use from every thread.

    The station is Running where all its cameras are, Disarmed where none is judged any more, and else Degraded.
    """

    def __init__(self, cameras: Iterable[str]) -> None:
        self._lock = threading.RLock()
        self._phase = State.STARTING
        self._phase_reason = ""
        self._condition = Condition(State.STARTING, "", time.monotonic())
        self._restarts: Counter[str] = Counter()
        self.cameras: Mapping[str, CameraHealth] = {
            name: CameraHealth(name, self._lock, self._renew) for name in cameras
        }

    def enter(self, phase: State, reason: str = "") -> None:
        """Go to the next phase of the daemon's life, with every camera."""
        with self._lock:
            self._phase, self._phase_reason = phase, reason
            for camera in self.cameras.values():
                camera.enter(phase)
            if self._state() != (self._condition.state, self._condition.reason):
                self._renew()

    @property
    def condition(self) -> Condition:
        """The present state. A new object at each change, also of a camera, so that a reader can tell."""
        return self._condition

    def count_restart(self, worker: str) -> None:
        """Count one worker of the whole station that failed and was started again."""
        with self._lock:
            self._restarts[worker] += 1

    @property
    def counters(self) -> Counters:
        """The sums over all cameras."""
        with self._lock:
            each = [camera.counters for camera in self.cameras.values()]
            restarts = self._restarts.copy()
            dropped: Counter[str] = Counter()
            for counters in each:
                restarts.update(counters.restarts)
                dropped.update(counters.dropped)
        numbers = ("frames", "ok", "not_ok", "not_decidable", "reconnects")
        sums = {name: sum(getattr(counters, name) for counters in each) for name in numbers}
        return Counters(**sums, dropped=dict(dropped), restarts=dict(restarts))

    def _renew(self) -> None:
        state, reason = self._state()
        since = self._condition.since if state is self._condition.state else time.monotonic()
        self._condition = Condition(state, reason, since)

    def _state(self) -> tuple[State, str]:
        state, reason = self._phase, self._phase_reason
        unwell = [camera for camera in self.cameras.values() if camera.condition.reason]
        if unwell and state in (State.STARTING, State.RUNNING):
            reason = "; ".join(f"camera {camera.name}: {camera.condition.reason}" for camera in unwell)
            state = State.DEGRADED if state is State.RUNNING else state
            if all(camera.condition.state is State.DISARMED for camera in self.cameras.values()):
                state = State.DISARMED
        return state, reason
