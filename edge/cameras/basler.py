"""Basler cameras, through Basler's own pylon."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter, Triggering
from edge.cameras.frame_numbers import GIGE_CYCLE, FrameNumbers
from edge.cameras.software_triggers import SoftwareTriggers
from edge.cameras.tables import BaslerCamera
from engines.errors import CameraError


class Basler(Camera):
    """One camera, by its serial number, free-running or triggered. A failed grab is a frame with a fault.

    With hardware triggers `trigger_id` is the camera's own number, unwrapped; with software triggers one picture is
    taken at a time.
    """

    def __init__(self, table: BaslerCamera) -> None:
        self.name = f"Basler camera {table.serial}"
        triggering = Triggering(table.trigger)
        self.capabilities = Capabilities(triggering is Triggering.NONE, triggering)
        self._pylon, self._error = _load_pylon()
        self._table = table
        self._shutter = Shutter()
        self._triggers = SoftwareTriggers()
        self._camera: Any = None
        self._numbers = FrameNumbers(0)

    def open(self) -> None:
        """Take control of the camera, set it up and start it."""
        self._triggers.clear()
        info = self._pylon.DeviceInfo()
        info.SetSerialNumber(self._table.serial)
        try:
            self._camera = self._pylon.InstantCamera(self._pylon.TlFactory.GetInstance().CreateFirstDevice(info))
            self._camera.Open()
            self._set_up(self._camera)
            self._start(self._camera)
        except (CameraError, self._error) as error:
            self.close()
            raise CameraError(str(error) if isinstance(error, CameraError) else self._said(error)) from None

    def trigger(self, trigger_id: int) -> None:
        """Have a picture taken now, or owe an overrun while another one is being taken."""
        if self.capabilities.triggering is not Triggering.SOFTWARE or self._camera is None:
            super().trigger(trigger_id)
        if self._triggers.accept(trigger_id):
            try:
                self._camera.ExecuteSoftwareTrigger()
            except self._error as error:
                raise CameraError(self._said(error)) from None

    def read(self, timeout_s: float) -> Frame | None:
        """Take the next frame. Raises CameraError when the camera was unplugged."""
        if self._camera is None:
            return None
        overrun = self._triggers.overrun(self._shutter)
        if overrun is not None:
            return overrun
        try:
            result = self._camera.RetrieveResult(round(timeout_s * 1000), self._pylon.TimeoutHandling_Return)
            if self._camera.IsCameraDeviceRemoved():
                raise CameraError(f"{self.name} was unplugged")
            with result:
                return self._frame(result) if result.IsValid() else None
        except self._error as error:
            raise CameraError(self._said(error)) from None

    def close(self) -> None:
        """Stop the camera and let go of it."""
        if self._camera is not None:
            camera, self._camera = self._camera, None
            try:
                camera.Close()
            except self._error:  # it is gone, which is why it is closed
                camera.DetachDevice()

    def _said(self, error: Exception) -> str:
        return f"{self.name}: {str(error).partition(' : ')[0].strip()}"

    def _set_up(self, camera: Any) -> None:
        triggering = self.capabilities.triggering
        camera.TriggerSelector.Value = "FrameStart"
        camera.TriggerMode.Value = "Off" if triggering is Triggering.NONE else "On"
        if triggering is not Triggering.NONE:
            software = triggering is Triggering.SOFTWARE
            camera.TriggerSource.Value = "Software" if software else self._table.trigger_line
        if self._table.pixel_format is not None:
            camera.PixelFormat.Value = self._table.pixel_format
        self._set(camera, self._table.exposure_us, "ExposureAuto", "ExposureTime", "ExposureTimeAbs")
        self._set(camera, self._table.gain, "GainAuto", "Gain", "GainAbs")
        if self._table.fps is not None:
            camera.AcquisitionFrameRateEnable.Value = True
        self._set(camera, self._table.fps, "", "AcquisitionFrameRate", "AcquisitionFrameRateAbs")

    def _set(self, camera: Any, value: float | None, automatic: str, *names: str) -> None:
        """Set the first of `names` that the camera has, newer ones' name first, with `automatic` control off."""
        if value is None:
            return
        nodes = camera.GetNodeMap()
        if automatic and nodes.GetNode(automatic) is not None:
            nodes.GetNode(automatic).SetValue("Off")
        node = next((node for name in names if (node := nodes.GetNode(name)) is not None), None)
        if node is None:
            raise CameraError(f"{self.name} has no {names[0]}; leave it out of the station file")
        node.SetValue(value)

    def _start(self, camera: Any) -> None:
        gige = camera.GetDeviceInfo().GetDeviceClass() == "BaslerGigE"
        self._numbers = FrameNumbers(GIGE_CYCLE if gige else 0)
        camera.MaxNumBuffer.Value = self._table.buffers
        newest = self.capabilities.free_running
        camera.StartGrabbing(self._pylon.GrabStrategy_LatestImageOnly if newest else self._pylon.GrabStrategy_OneByOne)

    def _frame(self, result: Any) -> Frame:
        self._shutter.press()
        number, missed = self._numbers.unwrap(result.BlockID)
        trigger_id = self._triggers.settle()
        if self.capabilities.triggering is Triggering.HARDWARE:
            trigger_id = number
        # A triggered frame that never came is settled by who counts the triggers.
        missed = missed if self.capabilities.free_running else 0
        if not result.GrabSucceeded():
            fault = f"incomplete frame: {result.ErrorDescription}"
            return self._shutter.frame(None, fault=fault, trigger_id=trigger_id, missed=missed)
        return self._shutter.frame(self._image(result), trigger_id=trigger_id, missed=missed)

    def _image(self, result: Any) -> NDArray[np.uint8]:
        # What GetArray gives is a copy, so that the buffer can go back to the driver.
        if result.PixelType == self._pylon.PixelType_Mono8:
            return np.asarray(result.GetArray(), np.uint8)
        grey = self._pylon.IsMono(result.PixelType)
        converter = self._pylon.ImageFormatConverter()
        converter.OutputPixelFormat = self._pylon.PixelType_Mono8 if grey else self._pylon.PixelType_BGR8packed
        return np.asarray(converter.Convert(result).GetArray(), np.uint8)


def _load_pylon() -> tuple[Any, type[Exception]]:
    try:
        error: type[Exception] = import_module("pypylon.genicam").GenericException
        return import_module("pypylon.pylon"), error
    except ImportError:
        raise CameraError("Basler cameras need Basler's pypylon (250 MB): pip install 'edge-inspect[basler]'") from None
