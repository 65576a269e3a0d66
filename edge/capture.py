"""The worker that takes frames from the camera, and brings the camera back when it is absent or lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge.cameras.backoff import Backoff
from edge.cameras.camera import Camera, Frame, Triggering
from edge.health import CLOSED, LOST_BEFORE, CameraHealth
from edge.inbox import Inbox
from edge.queues import BoundedQueue, QueueClosedError
from edge.triggers import Asked, Counted, Trigger
from edge.worker import Job
from engines.errors import CameraError

_log = logging.getLogger(__name__)
_PATIENCE_S = 0.1
# While a frame is owed, the next trigger waits no longer than this for its turn.
_PROMPT_S = 0.005
_FAULT = "camera"


@dataclass(frozen=True)
class Limits:
    """When capture gives up waiting.

    `retry_s` to `retry_max_s` are the pauses between two tries to open the camera. `room` is how many pictures may wait
    for the engine, and `triggers` how many triggers for their frame, before a further one is an overrun; a frame comes
    within `timeout_s` of its trigger, or is missing. Times are in seconds.
    """

    retry_s: float
    retry_max_s: float
    room: int
    triggers: int
    timeout_s: float


class Capture(Job):
    """Camera to queue. An absent camera is a fault of its lane, never the end of the daemon.

    Of a triggered camera every trigger comes out, in order, as a frame or as the reason why there is none; what exceeds
    the room comes out as an overrun, without its picture. So the queue never has to be waited for.
    """

    def __init__(self, camera: Camera, frames: BoundedQueue[Frame], health: CameraHealth, limits: Limits) -> None:
        self.inbox = Inbox()
        self._camera = camera
        self._frames = frames
        self._health = health
        self._limits = limits
        self._backoff = Backoff(limits.retry_s, limits.retry_max_s)
        self._open = False
        self._resume_at = 0.0
        self._lost = ""
        self._asked = Asked(round(limits.timeout_s * 1e9), self._drop)
        self._counted = Counted(self._drop)
        # The supervisor settles what a camera that hangs in its driver still owes.
        self._settling = threading.Lock()

    def setup(self) -> None:
        """Nothing: the camera is opened by the first step, because its absence must not stop the start."""

    def step(self, stopping: threading.Event) -> bool:
        """Open the camera if need be, and hand on one frame. False at the end of a source that has one."""
        if self._pauses(stopping):
            return True
        try:
            if not self._open:
                self._connect()
            frame = self._read()
        except CameraError as error:
            self._lose(error)
            self._resume_at = time.monotonic() + self._backoff.next()
            return True
        if frame is not None:
            self._take(frame)
        with self._settling:
            self._hand_on(self._asked.overdue(time.monotonic_ns()))
        return not self._camera.exhausted

    def teardown(self) -> None:
        """Release the camera."""
        self._open = False
        self._camera.close()

    def settle(self, fault: str) -> None:
        """Hand on the triggers that wait as parts with a `fault`. From any thread."""
        with self._settling:
            self._hand_on(self._asked.give_up(fault))
            while (trigger := self.inbox.take()) is not None:
                self._hand_on(self._asked.expect(trigger, fault))

    @property
    def _triggering(self) -> Triggering:
        return self._camera.capabilities.triggering

    def _connect(self) -> None:
        self._camera.open()
        self._open = True
        self._counted.resume()
        # A camera that runs by itself is back when a picture proves it: many devices open and then give none.
        if not self._camera.capabilities.free_running:
            self._find()

    def _find(self) -> None:
        self._backoff.reset()
        self._health.clear(_FAULT)
        if self._lost:
            self._lost = ""
            self._health.count_reconnect()
            _log.info("%s is back", self._camera.name)

    def _lose(self, error: CameraError) -> None:
        if not self._lost:
            _log.warning("no camera: %s; trying again until it is there", error)
        self._open, self._lost = False, str(error)
        self._health.fault(_FAULT, self._lost)
        with self._settling:
            self._hand_on(self._asked.give_up(f"camera lost: {self._lost}"))
        # Last, because a driver may take many seconds to let go of a camera that does not answer.
        self._camera.close()

    def _pauses(self, stopping: threading.Event) -> bool:
        # A piece of the pause a step: whoever watches this worker must not take a pause for a worker that is stuck.
        wait_s = min(self._resume_at - time.monotonic(), _PATIENCE_S)
        if wait_s <= 0:
            return False
        if self._triggering is Triggering.SOFTWARE:
            self._expect(wait_s, f"camera lost: {self._lost}")
        else:
            stopping.wait(wait_s)
        return True

    def _read(self) -> Frame | None:
        if self._triggering is not Triggering.SOFTWARE:
            return self._camera.read(_PATIENCE_S)
        # A trigger must not wait while the camera is asked for a frame that nobody has triggered.
        self._pull(0.0 if self._asked.owed else _PATIENCE_S)
        return self._camera.read(_PROMPT_S if self._asked.owed else 0.0)

    def _pull(self, timeout_s: float) -> None:
        full = self._asked.owed >= self._limits.triggers
        overrun = f"overrun: {self._limits.triggers} triggers wait for their frames already" if full else ""
        trigger = self._expect(timeout_s, overrun)
        if trigger is not None and not overrun:
            self._camera.trigger(trigger.trigger_id)

    def _expect(self, timeout_s: float, fault: str = "") -> Trigger | None:
        """Take the next trigger and owe its frame in one step, so that `settle` finds it here or there."""
        self.inbox.wait(timeout_s)
        with self._settling:
            trigger = self.inbox.take()
            if trigger is not None:
                self._hand_on(self._asked.expect(trigger, fault))
        return trigger

    def _take(self, frame: Frame) -> None:
        if self._lost and frame.image is not None:
            self._find()
        if frame.missed:
            self._drop(LOST_BEFORE, frame.missed)
        if self._triggering is Triggering.NONE:
            self._hand_on([frame])  # this may wait for room, and nobody else may have to wait for that
            return
        with self._settling:
            ledger = self._asked if self._triggering is Triggering.SOFTWARE else self._counted
            self._hand_on(ledger.take(frame))

    def _hand_on(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._health.count_frame()
            try:
                self._frames.put(self._fitting(frame))
            except QueueClosedError:
                # Nobody inspects any more; the heartbeat says so, and this frame is accounted for.
                self._health.count_drop(CLOSED)

    def _fitting(self, frame: Frame) -> Frame:
        if self._triggering is Triggering.NONE or len(self._frames) < self._limits.room:
            return frame
        return replace(frame, image=None, fault=frame.fault or f"overrun: {self._limits.room} parts wait already")

    def _drop(self, cause: str, number: int = 1) -> None:
        self._health.count_frame(number)
        self._health.count_drop(cause, number)
