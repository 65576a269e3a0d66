from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest

from edge.cameras.csi import csi_pipeline
from edge.cameras.gstreamer import GStreamer
from edge.cameras.tables import CSICamera
from tests.edge.cameras.peers import footprint, lose, next_frame, refused

LIVE = "videotestsrc is-live=true pattern=ball ! video/x-raw,{},framerate=50/1 ! appsink"


@pytest.fixture(autouse=True)
def gstreamer(need_gi: Callable[[str, str], None]) -> None:
    need_gi("GstApp", "1.0")


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("format=BGR,width=64,height=48", (48, 64, 3)),
        ("format=BGR,width=63,height=47", (47, 63, 3)),
        ("format=BGRx,width=62,height=40", (40, 62, 3)),
        ("format=GRAY8,width=61,height=40", (40, 61)),
    ],
)
def test_frames_come_without_padding_and_with_the_moment_of_capture(layout: str, shape: tuple[int, ...]) -> None:
    camera = GStreamer("test", LIVE.format(layout))
    camera.open()
    frames = [next_frame(camera) for _ in range(3)]
    now_ns = time.monotonic_ns()
    camera.close()
    assert [frame.frame_id for frame in frames] == [1, 2, 3]
    for frame in frames:
        assert frame.image is not None
        assert (frame.image.shape, frame.image.flags.c_contiguous) == (shape, True)
        assert 0 <= now_ns - frame.captured_ns < 10e9
    assert camera.read(0.0) is None


def test_the_channels_are_blue_green_red() -> None:
    camera = GStreamer("test", "videotestsrc pattern=red ! video/x-raw,width=8,height=8 ! videoconvert ! appsink")
    camera.open()
    image = next_frame(camera).image
    camera.close()
    assert image is not None
    assert image[4, 4].tolist() == [0, 0, 255]


def test_a_slow_reader_gets_the_newest_frame() -> None:
    camera = GStreamer("test", LIVE.format("format=GRAY8,width=64,height=48"))
    camera.open()
    next_frame(camera)
    time.sleep(0.5)
    frame = next_frame(camera)
    age_s = (time.monotonic_ns() - frame.captured_ns) / 1e9
    camera.close()
    assert age_s < 0.4


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("nosuchelement ! appsink", 'not a pipeline: no element "nosuchelement"'),
        ("videotestsrc !", "not a pipeline"),
        ("videotestsrc ! fakesink", "expected a pipeline that ends in one appsink, found 0 of them"),
        ("videotestsrc ! tee name=t ! appsink t. ! appsink", "found 2 of them"),
        ("videotestsrc ! video/x-raw,format=I420 ! appsink", "put videoconvert before the appsink"),
        ("filesrc location=/no/such/file ! decodebin ! appsink", "No such file|Could not open|Resource not found"),
    ],
)
def test_what_is_wrong_with_a_pipeline_is_said(pipeline: str, said: str) -> None:
    camera = GStreamer("test", pipeline)
    assert re.search(said, refused(camera))


def test_raw_video_of_another_format_is_a_frame_with_a_fault() -> None:
    caps = "video/x-raw,format=RGB16"
    camera = GStreamer("test", f'videotestsrc ! {caps},width=8,height=8 ! appsink caps="{caps}"')
    camera.open()
    assert "found video/x-raw, format=(string)RGB16" in next_frame(camera).fault
    camera.close()


def test_a_thousand_reconnects_leave_nothing_behind() -> None:
    camera = GStreamer("test", "videotestsrc num-buffers=1 ! video/x-raw,width=8,height=8 ! videoconvert ! appsink")

    def reconnect(times: int) -> tuple[int, int, float]:
        for _ in range(times):
            camera.open()
            assert "ended" in lose(camera)
        return footprint()

    descriptors, threads, memory = reconnect(100)
    after = reconnect(1000)
    assert after[0] <= descriptors
    assert after[1] <= threads + 2  # GStreamer keeps a pool
    assert after[2] - memory < 8.0


def test_the_jetsons_pipeline_gives_frames_with_other_elements_in_place_of_nvidias() -> None:
    text = csi_pipeline(CSICamera(sensor=1, width=640, height=360, fps=60, flip=2))
    for nvidias, stand_in in {
        "nvarguscamerasrc sensor-id=1": "videotestsrc is-live=true",
        "(memory:NVMM)": "",
        "nvvidconv flip-method=2": "videoconvert",
    }.items():
        assert nvidias in text
        text = text.replace(nvidias, stand_in)
    camera = GStreamer("csi", text)
    camera.open()
    image = next_frame(camera).image
    camera.close()
    assert image is not None
    assert image.shape == (360, 640, 3)
