from __future__ import annotations

from pathlib import Path

import pytest

from edge.cameras.opencv import OpenCVDevice
from edge.cameras.tables import OpenCVCamera
from engines.errors import CameraError


def test_an_absent_camera_is_named_by_its_device() -> None:
    with pytest.raises(CameraError, match="no camera at /dev/video63; plug it in"):
        OpenCVDevice(OpenCVCamera(device=63)).open()


def test_a_device_that_is_no_camera_is_named(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.write_bytes(b"not a device")
    camera = OpenCVDevice(OpenCVCamera(device=str(path)))
    with pytest.raises(CameraError, match="video0 cannot be opened as a camera"):
        camera.open()
    camera.close()
    assert camera.read(0.0) is None
