"""A thread that reads an OpenCV capture without a pause, so that whoever asks gets the newest frame, or none in time.

OpenCV blocks inside the driver, for ten seconds with Video4Linux, and what nobody reads in time waits in its buffers.
"""

from __future__ import annotations

import threading

import cv2

from edge.cameras.camera import Frame, Shutter
from edge.queues import BoundedQueue, Policy, QueueClosedError
from engines.errors import CameraError


class NewestFrame:
    """The slot for one frame, and the thread that fills it. It owns `capture` from now on.

    Frames that a newer one displaced before they were read are counted as `missed`.
    """

    def __init__(self, name: str, capture: cv2.VideoCapture, shutter: Shutter) -> None:
        self._name = name
        self._capture = capture
        self._shutter = shutter
        self._missed = 0
        self._slot: BoundedQueue[Frame] = BoundedQueue(1, Policy.LATEST, self._miss)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame | None:
        """Take the newest frame. Raises CameraError after the end of the stream."""
        try:
            return self._slot.get(timeout_s)
        except QueueClosedError:
            raise CameraError(f"{self._name} gives no more frames") from None

    def close(self) -> None:
        """End the thread, which takes as long as the driver blocks."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set() and self._capture.grab():
                self._shutter.press()
                decoded, image = self._capture.retrieve()
                missed, self._missed = self._missed, 0
                fault = "" if decoded else "the frame cannot be decoded"
                self._slot.put(self._shutter.frame(image if decoded else None, fault=fault, missed=missed))
        finally:
            self._slot.close()
            self._capture.release()

    def _miss(self, frame: Frame) -> None:
        self._missed += 1 + frame.missed
