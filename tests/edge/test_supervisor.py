from __future__ import annotations

import contextlib
import threading
import time

import pytest

from edge.health import Health
from edge.supervisor import Supervisor
from edge.worker import Job, Worker


class Fragile(Job):
    """Fails at its first step, for the first `failures` lives; then runs."""

    def __init__(self, failures: int, in_setup: bool = False) -> None:
        self.lives = 0
        self._failures = failures
        self._in_setup = in_setup

    def setup(self) -> None:
        self.lives += 1
        if self._in_setup and 1 < self.lives <= self._failures:
            raise OSError("no device")

    def step(self, stopping: threading.Event) -> bool:
        if self.lives <= self._failures:
            raise OSError("cable pulled")
        stopping.wait(0.01)
        return True

    def teardown(self) -> None:
        pass


def failed(worker: Worker) -> Worker:
    with contextlib.suppress(OSError):
        worker.start()
    worker.join(10)
    return worker


def check_until_settled(supervisor: Supervisor, worker: Worker, job: Fragile, lives: int) -> None:
    deadline = threading.Event()
    for _ in range(1000):
        supervisor.check()
        if supervisor.exhausted or (worker.alive and job.lives > lives):
            return
        deadline.wait(0.01)
    pytest.fail("neither restarted nor exhausted")


@pytest.mark.parametrize("in_setup", [False, True])
def test_a_failed_worker_runs_again(in_setup: bool) -> None:
    job = Fragile(failures=2, in_setup=in_setup)
    worker = failed(Worker("capture", job))
    health = Health(["top"])
    supervisor = Supervisor([worker], health, budget=3, window_s=60, hang_s=30)
    check_until_settled(supervisor, worker, job, lives=2)
    assert not supervisor.exhausted
    assert health.counters.restarts == {"capture": 2}
    worker.stop(10)


def test_the_budget_is_spent_once_and_for_all() -> None:
    job = Fragile(failures=1000)
    worker = failed(Worker("capture", job))
    supervisor = Supervisor([worker], Health(["top"]), budget=2, window_s=60, hang_s=30)
    check_until_settled(supervisor, worker, job, lives=1000)
    assert "worker 'capture' failed (OSError: cable pulled); more than 2 restarts in 60 s" in supervisor.exhausted
    lives = job.lives
    supervisor.check()
    assert job.lives == lives == 3


def test_the_budget_is_shared_by_all_workers() -> None:
    jobs = [Fragile(failures=1), Fragile(failures=1)]
    workers = [failed(Worker(name, job)) for name, job in zip(("a", "b"), jobs, strict=True)]
    supervisor = Supervisor(workers, Health(["top"]), budget=1, window_s=60, hang_s=30)
    supervisor.check()
    assert [job.lives for job in jobs] == [2, 1]
    assert "'b'" in supervisor.exhausted
    workers[0].stop(10)


def test_old_failures_are_forgotten() -> None:
    now = 0.0
    job = Fragile(failures=1000)
    worker = failed(Worker("capture", job))
    supervisor = Supervisor([worker], Health(["top"]), budget=1, window_s=60, hang_s=1e9, clock=lambda: now)
    for _ in range(5):
        supervisor.check()
        worker.join(10)
        now += 61
    assert not supervisor.exhausted
    assert job.lives == 6


def test_a_worker_that_ended_by_itself_is_left_alone() -> None:
    class Brief(Fragile):
        def step(self, stopping: threading.Event) -> bool:
            return False

    worker = Worker("capture", Brief(failures=0))
    worker.start()
    worker.join(10)
    supervisor = Supervisor([worker], Health(["top"]), budget=1, window_s=60, hang_s=30)
    supervisor.check()
    assert not worker.alive
    assert not supervisor.exhausted


def test_a_process_that_stood_still_has_no_worker_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    later_s = 0.0
    worker = Worker("capture", Fragile(failures=0))
    worker.start()
    supervisor = Supervisor(
        [worker], Health(["top"]), budget=1, window_s=60, hang_s=30, clock=lambda: time.monotonic() + later_s
    )
    for moment_s in (1, 20, 3600, 3620):
        later_s = moment_s
        supervisor.check()
        assert not supervisor.exhausted
    assert not caplog.messages
    later_s = 3640
    supervisor.check()
    assert supervisor.exhausted == "worker 'capture' has hung for 30 s"
    assert caplog.messages == [
        f"{supervisor.exhausted}: what it works for is disarmed until the daemon is started again"
    ]
    worker.stop(10)
