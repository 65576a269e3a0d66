"""The worker that takes frames from the camera, and brings the camera back when it is absent or lost."""

from __future__ import annotations

import logging
import random
import threading

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
        self._retry_s = retry_s
        self._retry_max_s = retry_max_s
        self._pause_s = retry_s
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
            # Jitter, so that many stations do not knock on one returning switch at the same moment.
            stopping.wait(self._pause_s * random.uniform(0.8, 1.0))
            self._pause_s = min(self._pause_s * 2, self._retry_max_s)
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
        self._pause_s = self._retry_s
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
        self._health.count_frame()
        try:
            self._frames.put(frame)
        except QueueClosedError:
            # Nobody inspects any more; the heartbeat says so, and this frame is accounted for.
            self._health.count_drop("pipeline closed")
