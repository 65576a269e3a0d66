"""A camera behind a GStreamer pipeline that ends in an appsink."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter
from edge.cameras.introspection import load_gstreamer
from engines.errors import CameraError

_log = logging.getLogger(__name__)
# What we take over without a conversion by GStreamer, and the bytes a pixel of each.
_PIXEL_BYTES = {"BGR": 3, "BGRx": 4, "GRAY8": 1}
_FORMATS = f"video/x-raw, format=(string){{ {', '.join(_PIXEL_BYTES)} }}"
# A time stamp older than this was set by another clock than the system's.
_OLDEST_S = 10.0


class GStreamer(Camera):
    """The newest frame of any pipeline, e.g. `v4l2src ! videoconvert ! appsink`. It runs free.

    The appsink is told to take BGR, BGRx or GRAY8 and to keep one frame only: older ones are dropped there, uncounted,
    while Python is busy. `prepare` is called with each new pipeline before it starts. Made without GStreamer on this
    machine it raises CameraError.
    """

    capabilities = Capabilities(free_running=True)

    def __init__(self, name: str, pipeline: str, prepare: Callable[[Any], None] = lambda _: None) -> None:
        self.name = name
        self._gst = load_gstreamer()
        self._text = pipeline
        self._prepare = prepare
        self._shutter = Shutter()
        self._pipeline: Any = None
        self._sink: Any = None
        self._bus: Any = None

    def open(self) -> None:
        """Start the pipeline. What it cannot reach shows when frames are read."""
        self._pipeline, self._sink = self._built()
        self._bus = self._pipeline.get_bus()
        self._prepare(self._pipeline)
        if self._pipeline.set_state(self._gst.State.PLAYING) == self._gst.StateChangeReturn.FAILURE:
            reason = self._complaint() or "it does not start"
            self.close()
            raise CameraError(f"{self.name}: {reason}")

    def read(self, timeout_s: float) -> Frame | None:
        """Take the newest frame. Raises CameraError after an error in the pipeline, and at its end."""
        if self._sink is None:
            return None
        sample = self._sink.try_pull_sample(round(timeout_s * self._gst.SECOND))
        complaint = self._complaint()
        if complaint:
            raise CameraError(f"{self.name}: {complaint}")
        return None if sample is None else self._frame(sample)

    def close(self) -> None:
        """Stop the pipeline."""
        # GStreamer complains, and leaks, where a pipeline goes that was not stopped; also one that never started.
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
        self._pipeline = self._sink = self._bus = None

    def _built(self) -> tuple[Any, Any]:
        try:
            pipeline = self._gst.parse_launch(self._text)
        except Exception as error:  # GLib.Error, a type that only the bindings know
            raise CameraError(f"{self.name}: not a pipeline: {getattr(error, 'message', error)}") from None
        sinks = [each for each in _elements(pipeline) if each.get_factory().get_name() == "appsink"]
        if len(sinks) != 1:
            raise CameraError(f"{self.name}: expected a pipeline that ends in one appsink, found {len(sinks)} of them")
        sink = sinks[0]
        for key, value in {"drop": True, "max-buffers": 1, "sync": False}.items():
            sink.set_property(key, value)
        if sink.get_property("caps") is None:
            sink.set_property("caps", self._gst.Caps.from_string(_FORMATS))
        return pipeline, sink

    def _complaint(self) -> str:
        """Why there will be no more frames, if so. It also empties the bus, which else grows with every message."""
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.EOS
        message = self._bus.pop_filtered(kinds)
        if message is None:
            return ""
        if message.type == self._gst.MessageType.EOS:
            return "the stream has ended"
        error, detail = message.parse_error()
        _log.debug("%s: %s", self.name, detail)
        hint = "; put videoconvert before the appsink" if "not-negotiated" in str(detail) else ""
        return f"{error.message}{hint}"

    def _frame(self, sample: Any) -> Frame:
        buffer, layout = sample.get_buffer(), sample.get_caps().get_structure(0)
        self._shutter.press(self._age_s(buffer.pts))
        pixels = _PIXEL_BYTES.get(layout.get_string("format") or "", 0)
        size = (layout.get_value("height"), layout.get_value("width"))
        data = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
        rows = data.size // size[0] if size[0] else 0
        if not pixels or rows < size[1] * pixels:
            return self._shutter.frame(None, fault=f"expected {_FORMATS}, found {layout.to_string()}")
        return self._shutter.frame(_image(data[: rows * size[0]].reshape(size[0], rows), size[1], pixels))

    def _age_s(self, pts: int) -> float:
        # GStreamer's clock is the monotonic one, so a live source's stamp is the moment of capture or arrival.
        age_s = (time.monotonic_ns() - self._pipeline.get_base_time() - pts) / 1e9
        return age_s if 0.0 <= age_s <= _OLDEST_S else 0.0


def _elements(pipeline: Any) -> list[Any]:
    iterator = pipeline.iterate_recurse()
    found: list[Any] = []
    while True:
        result, element = iterator.next()
        if result.value_nick != "ok":
            return found
        found.append(element)


def _image(rows: NDArray[np.uint8], width: int, pixels: int) -> NDArray[np.uint8]:
    """Rows without what pads them, and without a fourth channel."""
    used = rows[:, : width * pixels]
    if pixels == 1:
        return np.ascontiguousarray(used)
    return np.ascontiguousarray(used.reshape(len(rows), width, pixels)[:, :, :3])
