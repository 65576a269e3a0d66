"""A network camera's RTSP stream: through GStreamer where it is installed, else through OpenCV's FFmpeg."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from edge.cameras.camera import Camera
from edge.cameras.tables import RTSPCamera
from engines.errors import CameraError

_log = logging.getLogger(__name__)
_DEPAY = {
    "h264": "rtph264depay ! h264parse ! avdec_h264 thread-type=slice output-corrupt=false",
    "h265": "rtph265depay ! h265parse ! avdec_h265 thread-type=slice output-corrupt=false",
    "mjpeg": "rtpjpegdepay ! jpegdec",
}


def make_rtsp(table: RTSPCamera) -> Camera:
    """Choose the way to the stream. Raises CameraError where the one that the table names is not installed."""
    if table.backend != "opencv":
        try:
            return _by_gstreamer(table)
        except CameraError as error:
            if table.backend == "gstreamer":
                raise
            _log.warning("%s; reading %s through OpenCV, one frame period later", error, table.url)
    from edge.cameras.rtsp_opencv import RTSPByOpenCV

    return RTSPByOpenCV(table.url, table.user, table.password_file, table.frame_timeout_s)


def rtsp_pipeline(table: RTSPCamera) -> str:
    """Without a jitter buffer's delay, and with threads by slice: a thread a frame would delay each by so many."""
    source = f"rtspsrc name=source latency=0 protocols={table.transport} tcp-timeout={_microseconds(table)}"
    return f"{source} ! {_DEPAY[table.codec]} ! videoconvert ! appsink"


def read_password(path: Path | None) -> str:
    """The first line of a password file, or none. Raises CameraError where it cannot be read."""
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CameraError(f"expected a password in {path}, which cannot be read: {error}") from None


def _by_gstreamer(table: RTSPCamera) -> Camera:
    from edge.cameras.gstreamer import GStreamer

    def prepare(pipeline: Any) -> None:
        # Not in the text of the pipeline, which messages repeat and which has a syntax of its own.
        source = pipeline.get_by_name("source")
        source.set_property("location", table.url)
        if table.user is not None:
            source.set_property("user-id", table.user)
            source.set_property("user-pw", read_password(table.password_file))

    return GStreamer(f"camera {table.url}", rtsp_pipeline(table), prepare)


def _microseconds(table: RTSPCamera) -> int:
    return round(table.frame_timeout_s * 1e6)
