from __future__ import annotations

from pathlib import Path

import pytest

from edge.cameras.folder import Folder
from edge.cameras.kinds import make_camera
from edge.cameras.opencv import OpenCVDevice
from edge.cameras.video import Video
from edge.config import CameraTable, FolderCamera, OpenCVCamera, VideoCamera


@pytest.mark.parametrize(
    ("table", "kind", "free_running"),
    [
        (FolderCamera(path=Path("in")), Folder, False),
        (VideoCamera(path=Path("a.avi")), Video, False),
        (VideoCamera(path=Path("a.avi"), pace="realtime"), Video, True),
        (OpenCVCamera(device=0), OpenCVDevice, True),
    ],
)
def test_the_table_decides_the_kind_and_whether_frames_may_be_dropped(
    table: CameraTable, kind: type, free_running: bool
) -> None:
    camera = make_camera(table)
    assert isinstance(camera, kind)
    assert camera.capabilities.free_running is free_running
