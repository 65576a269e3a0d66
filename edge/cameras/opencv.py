"""A free-running camera through OpenCV's Video4Linux."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter
from edge.cameras.newest_frame import NewestFrame
from edge.cameras.tables import OpenCVCamera
from engines.errors import CameraError

_log = logging.getLogger(__name__)
# Video4Linux: 1 sets the exposure by hand, and it counts in tenths of a millisecond.
_MANUAL = 1
_EXPOSURE_UNIT_US = 100.0


class OpenCVDevice(Camera):
    """A USB or built-in camera. One that gives another size or format than it was asked for is refused."""

    capabilities = Capabilities(free_running=True)

    def __init__(self, table: OpenCVCamera) -> None:
        self._path = Path(f"/dev/video{table.device}" if isinstance(table.device, int) else table.device)
        self.name = f"camera {self._path}"
        self._table = table
        self._shutter = Shutter()
        self._newest: NewestFrame | None = None

    def open(self) -> None:
        """Open the device and set it up. Raises CameraError where it is absent, in use, or does not do as asked."""
        if not self._path.exists():
            raise CameraError(f"no camera at {self._path}; plug it in, or see `edge-inspect doctor` for those present")
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_V4L2)
        try:
            if not capture.isOpened():
                raise CameraError(f"{self._path} cannot be opened as a camera; is another program using it?")
            self._set_up(capture)
        except CameraError:
            capture.release()
            raise
        self._newest = NewestFrame(self.name, capture, self._shutter)

    def read(self, timeout_s: float) -> Frame | None:
        """Take the newest frame. Raises CameraError when the device has gone."""
        return None if self._newest is None else self._newest.read(timeout_s)

    def close(self) -> None:
        """Release the device. A camera that hangs keeps Video4Linux for ten seconds."""
        if self._newest is not None:
            self._newest.close()
            self._newest = None

    def _set_up(self, capture: cv2.VideoCapture) -> None:
        table = self._table
        # The format first, because it decides which sizes and rates there are.
        if table.format is not None:
            self._set(capture, "format", cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*table.format))
        self._set(capture, "width", cv2.CAP_PROP_FRAME_WIDTH, table.width)
        self._set(capture, "height", cv2.CAP_PROP_FRAME_HEIGHT, table.height)
        if table.fps is not None and not capture.set(cv2.CAP_PROP_FPS, table.fps):
            _log.warning("%s does not let its rate be set", self.name)
        if table.exposure_us is not None:
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, _MANUAL)
            self._set(capture, "exposure_us / 100", cv2.CAP_PROP_EXPOSURE, round(table.exposure_us / _EXPOSURE_UNIT_US))
        # The driver's queue holds old pictures, and the newest has its own place here.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)

    def _set(self, capture: cv2.VideoCapture, key: str, number: int, value: int | None) -> None:
        if value is None:
            return
        capture.set(number, value)
        given = round(capture.get(number))
        if given != value:
            raise CameraError(f"{self.name}: asked for {key} = {value}, the camera gives {given}; see `v4l2-ctl --all`")
