"""Starts failed workers again, within a budget; beyond it what they work for must be disarmed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from edge.health import CameraHealth, Health
from edge.worker import Worker

_log = logging.getLogger(__name__)


class Supervisor:
    """Watches workers. More than `budget` failures within `window_s` seconds exhaust it, for good.

    The budget is shared: workers that fail in turns are no healthier than one that fails alone. A worker that has not
    moved for `hang_s` seconds exhausts it too: a thread that hangs can be neither ended nor started again. Only a
    `patient` one may hang. Where the supervisor itself stood still, so did the whole process (stopped, or frozen), and
    the workers have `hang_s` seconds anew to show that they move.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        health: CameraHealth | Health,
        budget: int,
        window_s: float,
        hang_s: float,
        patient: Sequence[Worker] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.exhausted = ""
        self._workers = workers
        self._health = health
        self._budget = budget
        self._window_s = window_s
        self._hang_s = hang_s
        self._patient = patient
        self._clock = clock
        self._failures: deque[float] = deque()
        self._checked_at = self._awake_since = clock()

    def check(self) -> None:
        """Start again every worker that has failed; `exhausted` says why when none may be any more."""
        self._note_the_time()
        for worker in self._workers:
            if not self.exhausted and worker not in self._patient and self._hangs(worker):
                self._give_up(f"worker {worker.name!r} has hung for {self._hang_s:g} s")
            if self.exhausted or worker.alive or worker.failure is None:
                continue
            _log.error("worker %r failed", worker.name, exc_info=worker.failure)
            if self._may_restart():
                self._restart(worker)
            else:
                self._give_up(
                    f"worker {worker.name!r} failed ({_one_line(worker.failure)}); "
                    f"more than {self._budget} restarts in {self._window_s:g} s"
                )

    def _note_the_time(self) -> None:
        now = self._clock()
        if now - self._checked_at > self._hang_s:
            self._awake_since = now
        self._checked_at = now

    def _hangs(self, worker: Worker) -> bool:
        awake_s = self._checked_at - self._awake_since
        return awake_s > self._hang_s and hangs(worker, self._hang_s, self._checked_at)

    def _give_up(self, reason: str) -> None:
        self.exhausted = reason
        _log.error("%s: what it works for is disarmed until the daemon is started again", reason)

    def _may_restart(self) -> bool:
        now = self._clock()
        while self._failures and now - self._failures[0] > self._window_s:
            self._failures.popleft()
        self._failures.append(now)
        return len(self._failures) <= self._budget

    def _restart(self, worker: Worker) -> None:
        self._health.count_restart(worker.name)
        try:
            worker.start()
        except Exception:  # it stays in `worker.failure`, and the next check counts it
            _log.warning("worker %r did not start again", worker.name)


def hangs(worker: Worker, hang_s: float, now: float) -> bool:
    """Whether a worker runs and has not moved for so long; `now` is the monotonic clock, in seconds."""
    return worker.alive and now - worker.moved_at > hang_s


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
