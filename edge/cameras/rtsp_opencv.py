"""RTSP without GStreamer: FFmpeg inside OpenCV, which needs both its timeouts, a thread, and a slot for one frame.

Without the timeouts it blocks for ever on a silent server, and it keeps what it has received: a reader that pauses for
200 ms at each frame is 4 s behind after five seconds. So a thread reads whatever comes, and only the newest is kept.
"""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import quote

import cv2

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter
from edge.cameras.rtsp import read_password
from edge.queues import BoundedQueue, Policy, QueueClosedError
from engines.errors import CameraError

# FFmpeg gives up reading after about twice the time that it is told.
_FFMPEG_SHARE = 0.5


class RTSPByOpenCV(Camera):
    """The newest frame of an RTSP stream. One frame period later than by GStreamer: FFmpeg's parser waits for the next.

    Frames that a newer one displaced before they were read are counted as `missed`.
    """

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
        self._missed = 0
        self._newest: BoundedQueue[Frame] | None = None
        self._reader: threading.Thread | None = None
        self._stopping = threading.Event()

    def open(self) -> None:
        """Connect, and begin to read. Raises CameraError after the timeout at the latest."""
        # OpenCV heeds the timeouts only where the backend is named.
        capture = cv2.VideoCapture(self._address(), cv2.CAP_FFMPEG, self._timeouts)
        if not capture.isOpened():
            capture.release()
            raise CameraError(f"{self.name}: no stream; is the address right, and the user and password?")
        self._stopping.clear()
        self._missed = 0
        self._newest = BoundedQueue(1, Policy.LATEST, self._miss)
        self._reader = threading.Thread(target=self._run, args=(capture, self._newest), name="rtsp", daemon=True)
        self._reader.start()

    def read(self, timeout_s: float) -> Frame | None:
        """Take the newest frame."""
        if self._newest is None:
            return None
        try:
            return self._newest.get(timeout_s)
        except QueueClosedError:
            raise CameraError(f"{self.name}: the stream has ended or fallen silent") from None

    def close(self) -> None:
        """End the reader, which takes FFmpeg's timeout where the server is silent."""
        self._stopping.set()
        if self._reader is not None:
            self._reader.join()
        self._reader = self._newest = None

    def _run(self, capture: cv2.VideoCapture, newest: BoundedQueue[Frame]) -> None:
        try:
            while not self._stopping.is_set() and capture.grab():
                self._shutter.press()
                decoded, image = capture.retrieve()
                missed, self._missed = self._missed, 0
                fault = "" if decoded else "the frame cannot be decoded"
                newest.put(self._shutter.frame(image if decoded else None, fault=fault, missed=missed))
        finally:
            newest.close()
            capture.release()

    def _miss(self, frame: Frame) -> None:
        self._missed += 1 + frame.missed

    def _address(self) -> str:
        if self._user is None:
            return self._url
        scheme, _, rest = self._url.partition("://")
        return f"{scheme}://{quote(self._user, safe='')}:{quote(read_password(self._password_file), safe='')}@{rest}"
