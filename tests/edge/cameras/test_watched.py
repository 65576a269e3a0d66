from __future__ import annotations

import time
from collections import deque

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras.camera import Camera, Capabilities, Frame, Triggering
from edge.cameras.watched import Watched
from engines.errors import CameraError
from tests.edge.clock import Clock


class Script(Camera):
    """Gives the pictures it was loaded with, then nothing."""

    name = "script"

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities
        self.pictures: deque[NDArray[np.uint8] | None] = deque()
        self.opened = 0
        self.triggers: list[int] = []

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout_s: float) -> Frame | None:
        if not self.pictures:
            return None
        image = self.pictures.popleft()
        return Frame(1, image, time.monotonic_ns(), time.time(), 0.0, fault="" if image is not None else "incomplete")

    def trigger(self, trigger_id: int) -> None:
        self.triggers.append(trigger_id)

    def close(self) -> None:
        pass


FREE = Capabilities(free_running=True)
SOFTWARE = Capabilities(free_running=False, triggering=Triggering.SOFTWARE)
HARDWARE = Capabilities(free_running=False, triggering=Triggering.HARDWARE)


def picture(grey: int, shape: tuple[int, ...] = (122, 40, 3)) -> NDArray[np.uint8]:
    return np.full(shape, grey, np.uint8)


def watched(capabilities: Capabilities, frozen_frames: int = 3) -> tuple[Watched, Script, Clock]:
    script, clock = Script(capabilities), Clock()
    camera = Watched(script, 2.0, frozen_frames, clock)
    camera.open()
    return camera, script, clock


def faults(camera: Watched, script: Script, pictures: list[NDArray[np.uint8] | None]) -> list[str]:
    script.pictures.extend(pictures)
    frames = [camera.read(0.0) for _ in pictures]
    return [frame.fault for frame in frames if frame]


def test_a_free_running_camera_owes_a_frame_every_timeout() -> None:
    camera, script, clock = watched(FREE)
    clock.now += 1.9
    assert camera.read(0.0) is None
    assert faults(camera, script, [picture(1)]) == [""]
    clock.now += 1.9
    assert camera.read(0.0) is None
    clock.now += 0.2
    with pytest.raises(CameraError, match=r"script gave no frame for 2\.1 s"):
        camera.read(0.0)
    camera.close()
    camera.open()
    assert camera.read(0.0) is None
    assert script.opened == 2


@pytest.mark.parametrize("capabilities", [SOFTWARE, HARDWARE, Capabilities(free_running=False)])
def test_without_a_trigger_silence_is_no_loss(capabilities: Capabilities) -> None:
    camera, _, clock = watched(capabilities)
    clock.now += 1e6
    assert camera.read(0.0) is None


def test_a_software_trigger_that_is_not_answered_is_a_loss() -> None:
    camera, script, clock = watched(SOFTWARE)
    camera.trigger(7)
    assert script.triggers == [7]
    assert faults(camera, script, [picture(1)]) == [""]
    clock.now += 3
    assert camera.read(0.0) is None
    camera.trigger(8)
    clock.now += 3
    with pytest.raises(CameraError, match="gave no frame"):
        camera.read(0.0)


def test_a_camera_without_software_triggers_says_so() -> None:
    with pytest.raises(CameraError, match="script takes no software trigger"):
        Camera.trigger(Script(FREE), 1)


@pytest.mark.parametrize("capabilities", [FREE, HARDWARE])
def test_a_frozen_picture_is_a_fault_and_has_the_camera_opened_again(capabilities: Capabilities) -> None:
    camera, script, _ = watched(capabilities)
    assert faults(camera, script, [picture(5)] * 3) == [""] * 3
    (fault,) = faults(camera, script, [picture(5)])
    assert fault == "script is frozen: it gave the same picture 4 times"
    with pytest.raises(CameraError, match="frozen"):
        camera.read(0.0)
    camera.close()
    camera.open()
    assert "5 times" in faults(camera, script, [picture(5)])[0]
    camera.open()
    assert faults(camera, script, [picture(6)] * 3) == [""] * 3


@pytest.mark.parametrize(
    ("pictures", "frozen_frames"),
    [
        ([picture(grey) for grey in (1, 2) * 5], 3),
        ([picture(1)] * 10, 0),
        ([picture(1), None] * 3, 3),
        ([picture(1, (40, 40)), picture(1, (40, 40, 3))] * 3, 1),
    ],
)
def test_what_is_not_frozen(pictures: list[NDArray[np.uint8] | None], frozen_frames: int) -> None:
    camera, script, _ = watched(FREE, frozen_frames)
    assert not any("frozen" in fault for fault in faults(camera, script, pictures))


def test_one_pixel_between_the_sampled_rows_is_a_difference() -> None:
    camera, script, _ = watched(FREE, 1)
    other = picture(1)
    other[1, 7, 2] = 2
    assert faults(camera, script, [picture(1), other] * 4) == [""] * 8
