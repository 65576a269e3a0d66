"""GigE Vision and USB3 Vision cameras, through Aravis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter, Triggering
from edge.cameras.frame_numbers import GIGE_CYCLE, FrameNumbers
from edge.cameras.introspection import load, load_aravis
from edge.cameras.pixels import to_frame
from edge.cameras.software_triggers import SoftwareTriggers
from edge.cameras.tables import GenICamCamera
from engines.errors import CameraError

# Time stamps are of the clock that can be set: an older one than this tells of that, not of the frame.
_OLDEST_S = 10.0


class GenICam(Camera):
    """One camera, free-running or triggered. Each frame is looked at: an incomplete one is a frame with a fault.

    With hardware triggers `trigger_id` is the camera's own number, unwrapped; with software triggers one picture is
    taken at a time.
    """

    def __init__(self, table: GenICamCamera) -> None:
        self.name = f"GenICam camera {table.device}"
        triggering = Triggering(table.trigger)
        self.capabilities = Capabilities(triggering is Triggering.NONE, triggering)
        self._aravis = load_aravis()
        self._names = {code: name for name, code in _codes(self._aravis).items()}
        self._table = table
        self._shutter = Shutter()
        self._camera: Any = None
        self._stream: Any = None
        self._control_lost = threading.Event()
        self._numbers = FrameNumbers(0)
        self._triggers = SoftwareTriggers()

    def open(self) -> None:
        """Take control of the camera, set it up and start it. Raises CameraError, at a dead address after 3 s."""
        self._triggers.clear()
        try:
            with self._asking():
                self._camera = self._aravis.Camera.new(self._table.device)
                self._set_up(self._camera)
                self._stream = self._started(self._camera)
        except CameraError:
            self.close()
            raise

    def trigger(self, trigger_id: int) -> None:
        """Have a picture taken now, or owe an overrun while another one is being taken."""
        if self.capabilities.triggering is not Triggering.SOFTWARE or self._camera is None:
            super().trigger(trigger_id)
        if self._triggers.accept(trigger_id):
            with self._asking():
                self._camera.software_trigger()

    def read(self, timeout_s: float) -> Frame | None:
        """Take the next frame. Raises CameraError when Aravis has lost control of the camera, which takes it 6 s."""
        if self._stream is None:
            return None
        overrun = self._triggers.overrun(self._shutter)
        if overrun is not None:
            return overrun
        buffer = self._stream.timeout_pop_buffer(round(timeout_s * 1e6))
        if buffer is None:
            if self._control_lost.is_set():
                raise CameraError(f"{self.name} no longer answers")
            return None
        newest = self._newest(buffer) if self.capabilities.free_running else buffer
        try:
            return self._frame(newest)
        finally:
            self._stream.push_buffer(newest)

    def close(self) -> None:
        """Stop the camera and let go of it. Aravis takes 13 s to let go of one that does not answer."""
        if self._camera is not None and self._stream is not None:
            with suppress(self._error):  # it is gone, which is why it is closed
                self._camera.stop_acquisition()
        # In this order: the stream works for the camera.
        self._stream = None
        self._camera = None

    @property
    def _error(self) -> type[Exception]:
        error: type[Exception] = load("GLib", "2.0", "gir1.2-glib-2.0").Error
        return error

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            raise CameraError(f"{self.name}: {getattr(error, 'message', error)}") from None

    def _set_up(self, camera: Any) -> None:
        table = self._table
        if camera.is_gv_device():
            # Never found out by trying: that finds packets larger than the network takes.
            camera.gv_set_packet_size_adjustment(self._aravis.GvPacketSizeAdjustment.NEVER)
            camera.gv_set_packet_size(table.packet_size)
        if table.pixel_format is not None:
            camera.set_pixel_format_from_string(table.pixel_format)
        self._set_numbers(camera)
        camera.set_acquisition_mode(self._aravis.AcquisitionMode.CONTINUOUS)
        camera.clear_triggers()
        if self.capabilities.triggering is not Triggering.NONE:
            software = self.capabilities.triggering is Triggering.SOFTWARE
            camera.set_trigger("Software" if software else table.trigger_line)

    def _set_numbers(self, camera: Any) -> None:
        """Set exposure, gain and rate, each switched from automatic and checked against the camera's limits."""
        off = self._aravis.Auto.OFF
        if self._table.exposure_us is not None:
            self._check("exposure_us", self._table.exposure_us, camera.get_exposure_time_bounds())
            if camera.is_exposure_auto_available():
                camera.set_exposure_time_auto(off)
            camera.set_exposure_time(self._table.exposure_us)
        if self._table.gain is not None:
            self._check("gain", self._table.gain, camera.get_gain_bounds())
            if camera.is_gain_auto_available():
                camera.set_gain_auto(off)
            camera.set_gain(self._table.gain)
        if self._table.fps is not None:
            self._check("fps", self._table.fps, camera.get_frame_rate_bounds())
            camera.set_frame_rate(self._table.fps)

    def _check(self, key: str, value: float, bounds: Any) -> None:
        low, high = bounds
        if not low <= value <= high:
            raise CameraError(f"{self.name}: expected {key} from {low:g} to {high:g}, found {value:g}")

    def _started(self, camera: Any) -> Any:
        stream = camera.create_stream(None, None)
        for _ in range(self._table.buffers):
            stream.push_buffer(self._aravis.Buffer.new_allocate(camera.get_payload()))
        # Made anew, and no method of this object: the camera's device would keep us, and we keep it.
        lost = self._control_lost = threading.Event()
        camera.get_device().connect("control-lost", lambda _: lost.set())
        self._numbers = FrameNumbers(GIGE_CYCLE if camera.is_gv_device() else 0)
        camera.start_acquisition()
        return stream

    def _newest(self, buffer: Any) -> Any:
        """The newest frame there is. The gap in the numbers tells how many were passed over."""
        while (newer := self._stream.try_pop_buffer()) is not None:
            self._stream.push_buffer(buffer)
            buffer = newer
        return buffer

    def _frame(self, buffer: Any) -> Frame:
        age_s = (time.time_ns() - buffer.get_system_timestamp()) / 1e9
        self._shutter.press(age_s if 0.0 <= age_s <= _OLDEST_S else 0.0)
        number, missed = self._numbers.unwrap(buffer.get_frame_id())
        trigger_id: int | None = None
        if self.capabilities.triggering is Triggering.SOFTWARE:
            trigger_id = self._triggers.settle()
        elif self.capabilities.triggering is Triggering.HARDWARE:
            trigger_id = number
        # A triggered frame that never came is settled by who counts the triggers.
        missed = missed if self.capabilities.free_running else 0
        status = buffer.get_status()
        if status != self._aravis.BufferStatus.SUCCESS:
            fault = f"incomplete frame: {status.value_nick}"
            return self._shutter.frame(None, fault=fault, trigger_id=trigger_id, missed=missed)
        return self._converted(buffer, trigger_id, missed)

    def _converted(self, buffer: Any, trigger_id: int | None, missed: int) -> Frame:
        code = buffer.get_image_pixel_format()
        name = self._names.get(code, f"0x{code:08x}")
        try:
            image = to_frame(buffer.get_data(), name, buffer.get_image_width(), buffer.get_image_height())
        except ValueError as error:
            return self._shutter.frame(None, fault=str(error), trigger_id=trigger_id, missed=missed)
        return self._shutter.frame(image, trigger_id=trigger_id, missed=missed)


def _codes(aravis: Any) -> dict[str, int]:
    """Codes on the wire of the formats we read, by their names in the camera."""
    bayer = {f"Bayer{pair}8": getattr(aravis, f"PIXEL_FORMAT_BAYER_{pair}_8") for pair in ("RG", "BG", "GR", "GB")}
    mono = {f"Mono{bits}": getattr(aravis, f"PIXEL_FORMAT_MONO_{bits}") for bits in (8, 10, 12, 14, 16)}
    return {**mono, **bayer, "RGB8": aravis.PIXEL_FORMAT_RGB_8_PACKED, "BGR8": aravis.PIXEL_FORMAT_BGR_8_PACKED}
