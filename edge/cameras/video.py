"""A video file, either every frame as quickly as possible, or played like a live camera."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import cv2

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter
from engines.errors import CameraError

_log = logging.getLogger(__name__)
_USUAL_FPS = 25.0


class Video(Camera):
    """Frames of one file in order. With `realtime` they come at the file's own rate, in time or not at all."""

    def __init__(self, path: Path, realtime: bool) -> None:
        self.name = f"video {path}"
        self.capabilities = Capabilities(free_running=realtime)
        self._path = path
        self._shutter = Shutter()
        self._capture: cv2.VideoCapture | None = None
        self._ended = False
        self._frames = 0
        self._interval_s = 0.0
        self._due = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether the last frame has been read."""
        return self._ended

    def open(self) -> None:
        """Open the file; after a `close` in the middle go on with the next frame."""
        if not self._path.is_file():
            raise CameraError(f"expected a video file at {self._path}, found none")
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise CameraError(f"{self._path}: no video that FFmpeg can decode")
        if self._frames:
            capture.set(cv2.CAP_PROP_POS_FRAMES, self._frames)
        if self.capabilities.free_running:
            self._interval_s = 1.0 / (capture.get(cv2.CAP_PROP_FPS) or _USUAL_FPS)
        self._due = time.monotonic()
        self._capture = capture

    def read(self, timeout_s: float) -> Frame | None:
        """Decode the next frame, when it is due."""
        if self._capture is None or self._ended or not self._wait_until_due(timeout_s):
            return None
        self._shutter.press()
        decoded, image = self._capture.read()
        if not decoded:
            self._end(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
            return None
        self._frames += 1
        self._due += self._interval_s
        return self._shutter.frame(image)

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _wait_until_due(self, timeout_s: float) -> bool:
        wait = self._due - time.monotonic()
        time.sleep(max(min(wait, timeout_s), 0.0))
        return wait <= timeout_s

    def _end(self, promised: int) -> None:
        self._ended = True
        if self._frames < promised:
            _log.warning("%s: its header promises %d frames, %d could be decoded", self.name, promised, self._frames)
