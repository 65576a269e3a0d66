"""Which camera a `[cameras.NAME]` table asks for."""

from __future__ import annotations

from edge.cameras.camera import Camera
from edge.cameras.tables import (
    BaslerCamera,
    CameraTable,
    CSICamera,
    FolderCamera,
    GenICamCamera,
    GStreamerCamera,
    LiveCamera,
    RTSPCamera,
    SyntheticCamera,
    VideoCamera,
)


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
    if isinstance(table, GStreamerCamera | CSICamera):
        return _gstreamer_camera(table)
    if isinstance(table, RTSPCamera):
        from edge.cameras.rtsp import make_rtsp

        return make_rtsp(table)
    if isinstance(table, GenICamCamera):
        from edge.cameras.genicam import GenICam

        return GenICam(table)
    if isinstance(table, BaslerCamera):
        from edge.cameras.basler import Basler

        return Basler(table)
    if isinstance(table, SyntheticCamera):
        from edge.cameras.synthetic import Synthetic

        return Synthetic(table)
    from edge.cameras.opencv import OpenCVDevice

    return OpenCVDevice(table)


def _gstreamer_camera(table: GStreamerCamera | CSICamera) -> Camera:
    from edge.cameras.csi import csi_pipeline
    from edge.cameras.gstreamer import GStreamer

    if isinstance(table, CSICamera):
        return GStreamer(f"CSI camera {table.sensor}", csi_pipeline(table))
    return GStreamer(f"pipeline {table.pipeline.partition(' ')[0]}", table.pipeline)
