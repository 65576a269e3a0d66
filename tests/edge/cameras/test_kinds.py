from __future__ import annotations

from pathlib import Path

import pytest

from edge.cameras.folder import Folder
from edge.cameras.kinds import make_camera
from edge.cameras.tables import CameraTable, FolderCamera, OpenCVCamera, SyntheticCamera, VideoCamera
from edge.cameras.video import Video
from edge.cameras.watched import Watched


@pytest.mark.parametrize(
    ("table", "kind", "free_running"),
    [
        (FolderCamera(path=Path("in")), Folder, False),
        (VideoCamera(path=Path("a.avi")), Video, False),
        (VideoCamera(path=Path("a.avi"), pace="realtime"), Video, True),
        (OpenCVCamera(device=0), Watched, True),
        (SyntheticCamera(), Watched, True),
        (SyntheticCamera(trigger="hardware"), Watched, False),
    ],
)
def test_the_table_decides_the_kind_and_whether_frames_may_be_dropped(
    table: CameraTable, kind: type, free_running: bool
) -> None:
    camera = make_camera(table)
    assert isinstance(camera, kind)
    assert camera.capabilities.free_running is free_running
