from __future__ import annotations

import threading
import time

import pytest

from edge.worker import Job, Worker, WorkerError


class Counting(Job):
    """Counts its steps until told to fail or to finish."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stepped = threading.Event()
        self.error_in: str = ""
        self.last_step = 0

    def setup(self) -> None:
        self._enter("setup")

    def step(self, stopping: threading.Event) -> bool:
        self._enter("step")
        self.stepped.set()
        stopping.wait(0.005)
        return self.calls.count("step") != self.last_step

    def teardown(self) -> None:
        self._enter("teardown")

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if self.error_in == name:
            raise RuntimeError(f"broken {name}")


def test_start_returns_when_it_runs_and_stop_when_it_does_not() -> None:
    job = Counting()
    worker = Worker("counting", job)
    worker.start()
    assert job.calls[0] == "setup"
    assert job.stepped.wait(10)
    worker.stop(10)
    assert not worker.alive
    assert worker.failure is None
    assert job.calls[-1] == "teardown"


def test_start_raises_what_setup_raised_and_cleans_up() -> None:
    job = Counting()
    job.error_in = "setup"
    worker = Worker("counting", job)
    with pytest.raises(RuntimeError, match="broken setup"):
        worker.start()
    assert not worker.alive
    assert job.calls == ["setup", "teardown"]


def test_start_does_not_wait_for_ever() -> None:
    class Hanging(Counting):
        def setup(self) -> None:
            release.wait(20)

    release = threading.Event()
    worker = Worker("hanging", Hanging())
    with pytest.raises(WorkerError, match=r"'hanging' was not ready within 0\.05 s"):
        worker.start(timeout_s=0.05)
    release.set()
    worker.stop(10)


@pytest.mark.parametrize("place", ["step", "teardown"])
def test_a_failure_is_kept_and_the_worker_can_start_again(place: str) -> None:
    job = Counting()
    worker = Worker("counting", job)
    worker.start()
    job.error_in = place
    if place == "teardown":
        worker.request_stop()
    worker.join(10)
    assert str(worker.failure) == f"broken {place}"
    assert job.calls[-1] == "teardown"

    job.error_in = ""
    job.stepped.clear()
    worker.start()
    assert worker.failure is None
    assert job.stepped.wait(10)
    worker.stop(10)


def test_a_job_that_is_finished_ends_the_worker_by_itself() -> None:
    job = Counting()
    job.last_step = 3
    worker = Worker("counting", job)
    worker.start()
    worker.join(10)
    assert job.calls == ["setup", "step", "step", "step", "teardown"]


def test_a_worker_that_does_not_end_is_named() -> None:
    class Stuck(Counting):
        def step(self, stopping: threading.Event) -> bool:
            release.wait(20)
            return False

    release = threading.Event()
    worker = Worker("stuck", Stuck())
    worker.start()
    with pytest.raises(WorkerError, match="'stuck' did not end within"):
        worker.stop(0.05)
    with pytest.raises(WorkerError, match="running already"):
        worker.start()
    release.set()
    worker.join(10)


def test_a_worker_that_never_ran_can_be_stopped() -> None:
    Worker("idle", Counting()).stop(0.0)


def test_a_worker_moves_with_every_step_and_not_while_one_lasts() -> None:
    class Waiting(Counting):
        def step(self, stopping: threading.Event) -> bool:
            release.wait(10)
            return super().step(stopping)

    release = threading.Event()
    worker = Worker("waiting", Waiting())
    worker.start()
    began = worker.moved_at
    assert 0 < began <= time.monotonic()
    time.sleep(0.05)
    assert worker.moved_at == began
    release.set()
    deadline = time.monotonic() + 10
    while worker.moved_at == began and time.monotonic() < deadline:
        time.sleep(0.005)
    worker.stop(10)
    assert worker.moved_at > began
