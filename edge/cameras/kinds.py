"""Which camera a `[cameras.NAME]` table asks for."""

from __future__ import annotations

from edge.cameras.camera import Camera
from edge.cameras.tables import CameraTable, FolderCamera, LiveCamera, SyntheticCamera, VideoCamera


def make_camera(table: CameraTable) -> Camera:
    """Build the camera of one `[cameras.NAME]` table, without opening it. Only its own module is imported.

    Live cameras are watched over: see `edge.cameras.watched`.
    """
    camera = _bare_camera(table)
    if not isinstance(table, LiveCamera):
        return camera
    from edge.cameras.watched import Watched

    return Watched(camera, table.frame_timeout_s, table.frozen_frames)


def _bare_camera(table: CameraTable) -> Camera:
    if isinstance(table, FolderCamera):
        from edge.cameras.folder import Folder

        return Folder(table.path, table.watch, table.settle_s)
    if isinstance(table, VideoCamera):
        from edge.cameras.video import Video

        return Video(table.path, realtime=table.pace == "realtime")
    if isinstance(table, SyntheticCamera):
        from edge.cameras.synthetic import Synthetic

        return Synthetic(table)
    from edge.cameras.opencv import OpenCVDevice

    return OpenCVDevice(table.device, table.width, table.height, table.fps)
