"""Watches over a live camera: one that falls silent or repeats itself is lost, whatever its driver says.

Drivers notice late or never. Aravis reports a dead GigE camera after 6 s, FFmpeg's RTSP client blocks for longer than
45 s by default, and a decoder that hangs on to its last picture reports nothing at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.cameras.camera import Camera, Frame
from engines.errors import CameraError

# Sensor noise shows in a few rows already, so that hardly ever a whole picture is compared.
_SAMPLED_ROWS = 61


class Watched(Camera):
    """A camera with a frame timeout of our own and an eye for a frozen picture.

    A free-running camera owes a frame every `frame_timeout_s`, one with software triggers within that time after each.
    After `frozen_frames` equal pictures in a row (0: never) every further equal one is a frame with a fault, also after
    the camera was opened again, which each of them causes.
    """

    def __init__(
        self,
        camera: Camera,
        frame_timeout_s: float,
        frozen_frames: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = camera.name
        self.capabilities = camera.capabilities
        self._camera = camera
        self._timeout_s = frame_timeout_s
        self._frozen_frames = frozen_frames
        self._clock = clock
        self._owed_since: float | None = None
        self._previous: NDArray[np.uint8] | None = None
        self._equal = 0
        self._lost = ""

    @property
    def exhausted(self) -> bool:
        """Whether no frame can ever follow."""
        return self._camera.exhausted

    def open(self) -> None:
        """Open the camera. A free-running one owes its first frame from now on."""
        self._lost = ""
        self._camera.open()
        self._owed_since = self._clock() if self.capabilities.free_running else None

    def trigger(self, trigger_id: int) -> None:
        """Trigger the camera, which owes a frame from now on."""
        self._camera.trigger(trigger_id)
        if self._owed_since is None:
            self._owed_since = self._clock()

    def read(self, timeout_s: float) -> Frame | None:
        """Take the next frame. Raises CameraError also where one is overdue, and after a frozen one."""
        if self._lost:
            raise CameraError(self._lost)
        frame = self._camera.read(timeout_s)
        now = self._clock()
        if frame is not None:
            self._owed_since = now if self.capabilities.free_running else None
            return self._compared(frame)
        if self._owed_since is not None and now - self._owed_since > self._timeout_s:
            raise CameraError(f"{self.name} gave no frame for {now - self._owed_since:.1f} s")
        return None

    def close(self) -> None:
        """Release the camera."""
        self._camera.close()

    def _compared(self, frame: Frame) -> Frame:
        if frame.image is None or not self._frozen_frames:
            return frame
        same = self._previous is not None and _equal(self._previous, frame.image)
        self._equal = self._equal + 1 if same else 1
        self._previous = frame.image
        if self._equal <= self._frozen_frames:
            return frame
        self._lost = f"{self.name} is frozen: it gave the same picture {self._equal} times"
        return replace(frame, image=None, fault=self._lost)


def _equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    if one.shape != other.shape:
        return False
    rows = slice(None, None, max(len(one) // _SAMPLED_ROWS, 1))
    return bool(np.array_equal(one[rows], other[rows]) and np.array_equal(one, other))
