"""Replays golden parts while the station runs: at times of the day, every few hours, and when it is asked to.

A start that passed the parity gate says nothing of the weeks after it. The parts go through the very engine that
judges, between its frames. Whoever fails is distrusted at once: no part is judged by that engine until the daemon is
started again, which goes through the gate.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta

from calibration.golden import GateResult, compare_golden
from edge.product import Product
from edge.requests import Refused, Reply, SelfTestReply, SelfTestRequest, SelfTestResult
from edge.trust import TrustTable
from edge.worker import Job
from engines.bundle import Calibration

_log = logging.getLogger(__name__)
_PATIENCE_S = 0.1
ROOM_S = 10.0


class Schedule:
    """When a self-test is due: at times of the day by the wall clock, and every so many hours by the monotonic one.

    The wall clock may jump. A time that it jumps over is due at once, and one that it comes by twice is due twice: a
    test too many costs milliseconds.
    """

    def __init__(self, table: TrustTable, now: datetime, clock_s: float) -> None:
        self._times = [datetime.strptime(time_, "%H:%M").time() for time_ in table.self_test_at]
        self._every_s = table.self_test_hours * 3600 if table.self_test_hours else None
        self._looked = now
        self._tested_s = clock_s

    def due(self, now: datetime, clock_s: float) -> bool:
        """Whether a test is due. `now` is local time, `clock_s` the monotonic clock in seconds."""
        since, self._looked = self._looked, now
        late = self._every_s is not None and clock_s - self._tested_s >= self._every_s
        if late or any(self._passed(since, now)):
            self._tested_s = clock_s
            return True
        return False

    def _passed(self, since: datetime, now: datetime) -> Iterable[bool]:
        # A jump by more than a day passes every time once.
        days = {since.date(), now.date(), (now - timedelta(days=1)).date()}
        return (since < datetime.combine(day, each) <= now for day in days for each in self._times)


class SelfTest(Job):
    """The worker that tests. `products` says what is to be tested; `failed` is told which did not pass, and why."""

    def __init__(
        self,
        table: TrustTable,
        products: Callable[[], Sequence[Product]],
        failed: Callable[[Product, str], None],
    ) -> None:
        self._table = table
        self._products = products
        self._failed = failed
        self._schedule: Schedule | None = None
        self._asked: queue.SimpleQueue[Future[Reply]] = queue.SimpleQueue()

    def ask(self, request: SelfTestRequest) -> Future[Reply]:
        """Have a test made as soon as the one under way is over. From any thread."""
        answer: Future[Reply] = Future()
        if not self._products():
            answer.set_result(Refused(reason="no camera is armed, so there is no engine to test"))
            return answer
        self._asked.put(answer)
        return answer

    def setup(self) -> None:
        """Begin to look at the clocks."""
        self._schedule = self._schedule or Schedule(self._table, datetime.now(), time.monotonic())

    def step(self, stopping: threading.Event) -> bool:
        """Test if that is due or asked for. It never ends by itself."""
        if self._schedule is not None and self._schedule.due(datetime.now(), time.monotonic()):
            self._test()
        try:
            answer = self._asked.get(timeout=_PATIENCE_S)
        except queue.Empty:
            return True
        answer.set_result(self._test())
        return True

    def teardown(self) -> None:
        """Nothing: the engines are others'."""

    def _test(self) -> SelfTestReply:
        results = {}
        for product in self._products():
            name, result = product.recipe.name, replay_golden(product)
            drift = result.worst_drift if math.isfinite(result.worst_drift) else None
            results[name] = SelfTestResult(
                passed=result.passed, worst_drift=drift, tolerance=result.tolerance, reason=result.reason
            )
            if result.passed:
                _log.info("self-test of recipe %s passed: %s", name, result.reason)
            else:
                _log.error("self-test of recipe %s failed: %s", name, result.reason)
                self._failed(product, f"the self-test failed: {result.reason}")
        return SelfTestReply(passed=all(result.passed for result in results.values()), recipes=results)


def replay_golden(product: Product) -> GateResult:
    """Replay a product's golden parts through its engine, whatever happens: an engine that fails has not passed."""
    calibration, turnstile = product.recipe.calibration, product.turnstile
    ticket = turnstile.queue()
    try:
        if not turnstile.enter(ticket, ROOM_S):
            turnstile.give_up(ticket)
            return _failed(calibration, f"the engine had no room for golden parts within {ROOM_S:g} s")
        try:
            return compare_golden(product.engine, product.golden, calibration)
        finally:
            turnstile.leave()
    except Exception as error:
        return _failed(calibration, f"golden parts cannot be replayed: {error}")


def _failed(calibration: Calibration, reason: str) -> GateResult:
    return GateResult(False, math.inf, calibration.golden_tolerance, reason)
