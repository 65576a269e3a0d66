from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras.camera import Camera, Capabilities, Frame
from edge.cameras.folder import Folder
from edge.cameras.video import Video
from edge.capture import Capture, Limits
from edge.health import CameraHealth, Health
from edge.queues import BoundedQueue, Policy
from edge.verdict import State
from edge.worker import Worker
from engines.errors import CameraError

LIMITS = Limits(retry_s=0.02, retry_max_s=0.05, room=4, triggers=4, timeout_s=0.5)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen within 30 s")
        time.sleep(0.01)


@pytest.fixture
def health() -> CameraHealth:
    health = Health(["top"])
    health.enter(State.RUNNING)
    return health.cameras["top"]


def frame_queue() -> BoundedQueue[Frame]:
    return BoundedQueue(1, Policy.ALL)


def write(path: Path) -> None:
    path.write_bytes(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())


def test_an_absent_camera_degrades_the_station_until_it_is_there(tmp_path: Path, health: CameraHealth) -> None:
    inbox = tmp_path / "inbox"
    frames = frame_queue()
    worker = Worker("capture", Capture(Folder(inbox), frames, health, LIMITS))
    worker.start()
    wait_for(lambda: health.condition.state is State.DEGRADED)
    assert "expected a folder of images" in health.condition.reason
    inbox.mkdir()
    wait_for(lambda: health.condition.state is State.RUNNING)
    write(inbox / "a.png")
    frame = frames.get(30.0)
    assert frame is not None
    assert frame.part_id == "a.png"
    assert health.counters.reconnects == 1

    inbox.rename(tmp_path / "away")
    wait_for(lambda: health.condition.state is State.DEGRADED)
    (tmp_path / "away").rename(inbox)
    wait_for(lambda: health.condition.state is State.RUNNING)
    assert health.counters.reconnects == 2
    worker.stop(10)
    assert worker.failure is None


def test_it_ends_by_itself_at_the_end_of_a_video(tmp_path: Path, health: CameraHealth) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (32, 32))
    for _ in range(5):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.release()
    frames = frame_queue()
    worker = Worker("capture", Capture(Video(path, realtime=False), frames, health, LIMITS))
    worker.start()
    taken = [frames.get(30.0) for _ in range(5)]
    worker.join(30)
    assert [frame.frame_id for frame in taken if frame] == [1, 2, 3, 4, 5]
    assert health.counters.frames == 5


def test_a_frame_that_nobody_will_judge_is_counted(tmp_path: Path, health: CameraHealth) -> None:
    write(tmp_path / "a.png")
    frames = frame_queue()
    frames.close()
    worker = Worker("capture", Capture(Folder(tmp_path, settle_s=0.05), frames, health, LIMITS))
    worker.start()
    wait_for(lambda: health.counters.frames == 1)
    worker.stop(10)
    assert health.counters.dropped == {"pipeline closed": 1}


class Flapping(Camera):
    """A device that always opens, and gives no picture before the third time. Two frames came before each."""

    name = "flapping"
    capabilities = Capabilities(free_running=True)

    def __init__(self) -> None:
        self.opened = 0

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout_s: float) -> Frame | None:
        if self.opened < 3:
            raise CameraError("no picture")
        time.sleep(timeout_s / 10)
        return Frame(1, np.zeros((4, 4), np.uint8), time.monotonic_ns(), time.time(), 0.0, missed=2)

    def close(self) -> None:
        pass


def test_a_live_camera_is_back_when_a_picture_proves_it(health: CameraHealth) -> None:
    frames = BoundedQueue[Frame](1, Policy.LATEST)
    worker = Worker("capture", Capture(Flapping(), frames, health, LIMITS))
    worker.start()
    wait_for(lambda: health.counters.reconnects == 1)
    assert health.condition.state is State.RUNNING
    worker.stop(10)
    counters = health.counters
    assert counters.dropped["lost before the daemon"] == 2 * counters.frames / 3
