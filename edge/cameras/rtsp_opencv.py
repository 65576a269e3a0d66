"""RTSP without GStreamer: FFmpeg inside OpenCV, which needs both its timeouts, a thread, and a slot for one frame.

Without the timeouts it blocks for ever on a silent server, and it keeps what it has received: a reader that pauses for
200 ms at each frame is 4 s behind after five seconds. So a thread reads whatever comes, and only the newest is kept.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import cv2

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter
from edge.cameras.newest_frame import NewestFrame
from edge.cameras.rtsp import read_password
from engines.errors import CameraError

# FFmpeg gives up reading after about twice the time that it is told.
_FFMPEG_SHARE = 0.5


class RTSPByOpenCV(Camera):
    """The newest frame of an RTSP stream, one frame period later than by GStreamer: its parser waits for the next."""

    capabilities = Capabilities(free_running=True)

    def __init__(self, url: str, user: str | None, password_file: Path | None, timeout_s: float) -> None:
        self.name = f"camera {url}"
        self._url = url
        self._user = user
        self._password_file = password_file
        timeout_ms = round(timeout_s * 1000)
        self._timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms]
        self._timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(timeout_ms * _FFMPEG_SHARE)]
        self._shutter = Shutter()
        self._newest: NewestFrame | None = None

    def open(self) -> None:
        """Connect, and begin to read. Raises CameraError after the timeout at the latest."""
        # OpenCV heeds the timeouts only where the backend is named.
        capture = cv2.VideoCapture(self._address(), cv2.CAP_FFMPEG, self._timeouts)
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{self.name}: no stream; is the address right, and the user and password?")
        self._newest = NewestFrame(self.name, capture, self._shutter)

    def read(self, timeout_s: float) -> Frame | None:
        """Take the newest frame. Raises CameraError when the stream has ended, or FFmpeg waited too long."""
        return None if self._newest is None else self._newest.read(timeout_s)

    def close(self) -> None:
        """End the reader, which takes FFmpeg's timeout where the server is silent."""
        if self._newest is not None:
            self._newest.close()
            self._newest = None

    def _address(self) -> str:
        if self._user is None:
            return self._url
        scheme, _, rest = self._url.partition("://")
        return f"{scheme}://{quote(self._user, safe='')}:{quote(read_password(self._password_file), safe='')}@{rest}"
