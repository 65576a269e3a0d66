"""What the station can do now and what has happened so far: written by every worker, published in the heartbeat."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

from edge.verdict import Counters, Evaluation, State


@dataclass(frozen=True)
class Condition:
    """The state, why it is not Running, and since when (monotonic, in seconds)."""

    state: State
    reason: str
    since: float


class Health:
    """State and counters of one station. Safe to use from every thread.

    A fault holds the state at Degraded for as long as it is there, whatever part of the daemon it is in.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phase = State.STARTING
        self._phase_reason = ""
        self._faults: dict[str, str] = {}
        self._condition = Condition(State.STARTING, "", time.monotonic())
        self._tally: Counter[str] = Counter()
        self._evaluations: Counter[Evaluation] = Counter()
        self._dropped: Counter[str] = Counter()
        self._restarts: Counter[str] = Counter()

    def enter(self, phase: State, reason: str = "") -> None:
        """Go to the next phase of the daemon's life."""
        with self._lock:
            self._phase, self._phase_reason = phase, reason
            self._refresh()

    def fault(self, source: str, reason: str) -> None:
        """Report that a part of the daemon cannot work now, e.g. an absent camera."""
        with self._lock:
            self._faults[source] = reason
            self._refresh()

    def clear(self, source: str) -> None:
        """Take back the fault of one part of the daemon."""
        with self._lock:
            if self._faults.pop(source, None) is not None:
                self._refresh()

    @property
    def condition(self) -> Condition:
        """The present state. A new object at each change, so that a reader can tell."""
        return self._condition

    def count_frame(self) -> None:
        """Count one frame taken from the camera."""
        with self._lock:
            self._tally["frames"] += 1

    def count_verdict(self, evaluation: Evaluation) -> None:
        """Count one verdict that was sent."""
        with self._lock:
            self._evaluations[evaluation] += 1

    def count_drop(self, cause: str, number: int = 1) -> None:
        """Count frames that were taken and will have no verdict."""
        with self._lock:
            self._dropped[cause] += number

    def count_reconnect(self) -> None:
        """Count one camera that came back."""
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
        state, reason = self._phase, self._phase_reason
        if self._faults and state in (State.STARTING, State.RUNNING):
            reason = "; ".join(self._faults.values())
            state = State.DEGRADED if state is State.RUNNING else state
        if (state, reason) != (self._condition.state, self._condition.reason):
            since = self._condition.since if state is self._condition.state else time.monotonic()
            self._condition = Condition(state, reason, since)
