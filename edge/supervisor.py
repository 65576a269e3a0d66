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
    `patient` one may hang.
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

    def check(self) -> None:
        """Start again every worker that has failed; `exhausted` says why when none may be any more."""
        for worker in self._workers:
            if not self.exhausted and worker not in self._patient and hangs(worker, self._hang_s, self._clock()):
                self.exhausted = f"worker {worker.name!r} has hung for {self._hang_s:g} s"
            if self.exhausted or worker.alive or worker.failure is None:
                continue
            _log.error("worker %r failed", worker.name, exc_info=worker.failure)
            if self._may_restart():
                self._restart(worker)
            else:
                self.exhausted = (
                    f"worker {worker.name!r} failed ({_one_line(worker.failure)}); "
                    f"more than {self._budget} restarts in {self._window_s:g} s"
                )

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
