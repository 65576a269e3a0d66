"""A free-running camera through OpenCV's Video4Linux."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter
from engines.errors import CameraError


class OpenCVDevice(Camera):
    """A USB or built-in camera. Reading blocks in the driver until a frame is there, ten seconds at most."""

    capabilities = Capabilities(free_running=True)

    def __init__(
        self, device: int | str, width: int | None = None, height: int | None = None, fps: float | None = None
    ) -> None:
        self._path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
        self.name = f"camera {self._path}"
        self._settings = {
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
            # The driver's queue holds old pictures; the pipeline has its own place for the newest.
            cv2.CAP_PROP_BUFFERSIZE: 1,
        }
        self._shutter = Shutter()
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """Open the device and ask it for the size and rate of the settings."""
        if not self._path.exists():
            raise CameraError(f"no camera at {self._path}; plug it in, or see `edge-inspect doctor` for those present")
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{self._path} cannot be opened as a camera; is another program using it?")
        for key, value in self._settings.items():
            if value is not None:
                capture.set(key, value)
        self._capture = capture

    def read(self, timeout_s: float) -> Frame | None:
        """Wait for the driver's next frame and decode it."""
        if self._capture is None:
            return None
        if not self._capture.grab():
            raise CameraError(f"{self.name} gives no more frames")
        self._shutter.press()
        decoded, image = self._capture.retrieve()
        return self._shutter.frame(image if decoded else None, fault="" if decoded else "the frame cannot be decoded")

    def close(self) -> None:
        """Release the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
