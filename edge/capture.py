"""The worker that takes frames from the camera, and brings the camera back when it is absent or lost."""

from __future__ import annotations

import logging
import threading

from edge.cameras.backoff import Backoff
from edge.cameras.camera import Camera, Frame
from edge.health import CameraHealth
from edge.queues import BoundedQueue, QueueClosedError
from edge.worker import Job
from engines.errors import CameraError

_log = logging.getLogger(__name__)
_PATIENCE_S = 0.1
_FAULT = "camera"


class Capture(Job):
    """Camera to queue. An absent camera is a fault of its lane, never the end of the daemon."""

    def __init__(
        self, camera: Camera, frames: BoundedQueue[Frame], health: CameraHealth, retry_s: float, retry_max_s: float
    ) -> None:
        self._camera = camera
        self._frames = frames
        self._health = health
        self._backoff = Backoff(retry_s, retry_max_s)
        self._open = False
        self._lost = False

    def setup(self) -> None:
        """Nothing: the camera is opened by the first step, because its absence must not stop the start."""

    def step(self, stopping: threading.Event) -> bool:
        """Open the camera if need be, and hand on one frame. False at the end of a source that has one."""
        try:
            if not self._open:
                self._connect()
            frame = self._camera.read(_PATIENCE_S)
        except CameraError as error:
            self._lose(error)
            stopping.wait(self._backoff.next())
            return True
        if frame is not None:
            self._hand_on(frame)
        return not self._camera.exhausted

    def teardown(self) -> None:
        """Release the camera."""
        self._open = False
        self._camera.close()

    def _connect(self) -> None:
        self._camera.open()
        self._open = True
        # A camera that runs by itself is back when a picture proves it: many devices open and then give none.
        if not self._camera.capabilities.free_running:
            self._find()

    def _find(self) -> None:
        self._backoff.reset()
        self._health.clear(_FAULT)
        if self._lost:
            self._lost = False
            self._health.count_reconnect()
            _log.info("%s is back", self._camera.name)

    def _lose(self, error: CameraError) -> None:
        if not self._lost:
            _log.warning("no camera: %s; trying again until it is there", error)
        self._open, self._lost = False, True
        self._camera.close()
        self._health.fault(_FAULT, str(error))

    def _hand_on(self, frame: Frame) -> None:
        if self._lost and frame.image is not None:
            self._find()
        self._health.count_frame()
        if frame.missed:
            self._health.count_drop("lost before the daemon", frame.missed)
        try:
            self._frames.put(frame)
        except QueueClosedError:
            # Nobody inspects any more; the heartbeat says so, and this frame is accounted for.
            self._health.count_drop("pipeline closed")
