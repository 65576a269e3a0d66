from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras.camera import Frame
from edge.cameras.video import Video
from engines.errors import CameraError


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames at 40 a second, told by their grey: 10, 20, ... 120."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 40.0, (64, 48))
    assert writer.isOpened()
    for number in range(1, 13):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def play(camera: Video) -> list[Frame]:
    frames = []
    while not camera.exhausted:
        frame = camera.read(0.2)
        if frame is not None:
            frames.append(frame)
    return frames


def greys(frames: list[Frame]) -> list[int]:
    return [round(float(frame.image.mean()) / 10) for frame in frames if frame.image is not None]


@pytest.mark.parametrize("realtime", [False, True])
def test_every_frame_comes_in_order_until_the_end(clip: Path, realtime: bool) -> None:
    camera = Video(clip, realtime)
    assert camera.capabilities.free_running is realtime
    camera.open()
    frames = play(camera)
    camera.close()
    assert greys(frames) == list(range(1, 13))
    assert [frame.frame_id for frame in frames] == list(range(1, 13))
    assert camera.read(0.0) is None


def test_realtime_frames_never_come_before_they_are_due(clip: Path) -> None:
    camera = Video(clip, realtime=True)
    began_ns = time.monotonic_ns()
    camera.open()
    times = [frame.captured_ns for frame in play(camera)]
    camera.close()
    assert len(times) == 12
    for index, captured_ns in enumerate(times):
        assert captured_ns - began_ns >= index * 25_000_000


def test_after_a_restart_it_goes_on_with_the_next_frame(clip: Path) -> None:
    camera = Video(clip, realtime=False)
    camera.open()
    first = [camera.read(0.1) for _ in range(5)]
    camera.close()
    camera.open()
    rest = play(camera)
    camera.close()
    assert greys([frame for frame in first if frame] + rest) == list(range(1, 13))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"expected a video file at .*none\.avi, found none"):
        Video(tmp_path / "none.avi", realtime=False).open()


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.avi"
    path.write_text("hello")
    with pytest.raises(CameraError, match=r"text\.avi: no video that FFmpeg can decode"):
        Video(path, realtime=False).open()


def test_a_truncated_video_gives_what_is_there_and_says_so(
    clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = tmp_path / "short.avi"
    short.write_bytes(clip.read_bytes()[: clip.stat().st_size * 85 // 100])
    camera = Video(short, realtime=False)
    camera.open()
    frames = play(camera)
    camera.close()
    assert 1 <= len(frames) < 12
    assert greys(frames) == list(range(1, len(frames) + 1))
    assert f"12 frames, {len(frames)} could be decoded" in caplog.text
