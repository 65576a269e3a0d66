"""The life cycle of every thread: `start()` returns when it runs or raises why not, `stop()` joins."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress

from engines.errors import InspectError

START_LIMIT_S = 30.0
_NICE = 10


class WorkerError(InspectError):
    """A worker that does not start or end in time."""

    exit_code = 1


def give_way() -> None:
    """Let every worker that judges go before the present thread: ordinary scheduling, and a low priority in it."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


class Job(ABC):
    """What a worker does. All three methods run in the worker's own thread; sockets and devices belong to it."""

    @abstractmethod
    def setup(self) -> None:
        """Acquire what the job needs. What it raises, `Worker.start` raises."""

    @abstractmethod
    def step(self, stopping: threading.Event) -> bool:
        """Do one piece of work within about 0.1 s where nothing is to be done. False: the job is finished."""

    @abstractmethod
    def teardown(self) -> None:
        """Release everything, after the end and after a failure, also one of `setup`."""


class Worker:
    """A thread that runs one job. It can be started again after it has ended or failed."""

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        self.failure: BaseException | None = None
        # When the last step ended (monotonic, in seconds): a worker that does not move is stuck.
        self.moved_at = 0.0
        self._job = job
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, timeout_s: float = START_LIMIT_S) -> None:
        """Return when the job is set up; raise what its `setup` raised, or WorkerError after `timeout_s`."""
        if self.alive:
            raise WorkerError(f"worker {self.name!r} is running already; stop it first")
        self.failure = None
        self.moved_at = time.monotonic()
        self._stopping.clear()
        self._ready.clear()
        # A daemon thread: one that hangs inside a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()
        if not self._ready.wait(timeout_s):
            raise WorkerError(f"worker {self.name!r} was not ready within {timeout_s:g} s")
        if self.failure is not None:
            self._thread.join()
            raise self.failure

    def request_stop(self) -> None:
        """Ask the job to end after its present step."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the job has ended by itself. Raises WorkerError when it has not within `timeout_s`."""
        if self._thread is None:
            return
        self._thread.join(max(timeout_s, 0.0))
        if self._thread.is_alive():
            raise WorkerError(f"worker {self.name!r} did not end within {timeout_s:.1f} s")

    def stop(self, timeout_s: float) -> None:
        """Ask the job to end and wait for it. Harmless for a worker that does not run."""
        self.request_stop()
        self.join(timeout_s)

    def _run(self) -> None:
        try:
            self._job.setup()
            self.moved_at = time.monotonic()
            self._ready.set()
            while not self._stopping.is_set() and self._job.step(self._stopping):
                self.moved_at = time.monotonic()
        except BaseException as error:
            self.failure = error
        finally:
            self._tear_down()
            self._ready.set()

    def _tear_down(self) -> None:
        try:
            self._job.teardown()
        except Exception as error:
            self.failure = self.failure or error
