from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest

from edge.cameras.camera import Frame, Triggering
from edge.cameras.synthetic import BUFFERS, Synthetic
from edge.cameras.tables import SyntheticCamera
from edge.demo.kinds import KINDS
from engines.errors import CameraError
from tests.edge.clock import Clock


def opened(**settings: Any) -> tuple[Synthetic, Clock]:
    clock = Clock()
    camera = Synthetic(SyntheticCamera(pictures=2, width=64, height=48, rate=10.0, **settings), clock)
    camera.open()
    return camera, clock


def read(camera: Synthetic) -> Frame:
    frame = camera.read(0.0)
    assert frame is not None
    return frame


def test_every_product_of_the_renderer_can_be_asked_for() -> None:
    assert set(get_args(get_type_hints(SyntheticCamera)["product"])) == set(KINDS)


def test_running_free_the_newest_frame_is_given_and_the_others_are_counted() -> None:
    camera, clock = opened()
    assert camera.capabilities.free_running
    first = read(camera)
    assert first.image is not None
    assert first.image.shape == (48, 64, 3)
    assert camera.read(0.0) is None
    clock.now += 0.1001
    assert (read(camera).missed, camera.read(0.0)) == (0, None)
    clock.now += 0.5001
    late = read(camera)
    assert (late.missed, late.frame_id, late.part_id) == (4, 3, "flange-000007-good")


def test_a_light_barrier_loses_no_part() -> None:
    camera, clock = opened(trigger="hardware")
    assert camera.capabilities.triggering is Triggering.HARDWARE
    clock.now += 0.5001
    frames = [read(camera) for _ in range(6)]
    assert [frame.trigger_id for frame in frames] == [1, 2, 3, 4, 5, 6]
    assert not any(frame.fault or frame.missed for frame in frames)
    assert camera.read(0.0) is None


def test_a_light_barrier_that_is_too_fast_overruns_with_one_frame_a_part() -> None:
    camera, clock = opened(trigger="hardware")
    clock.now += 0.1 * (BUFFERS + 2) + 0.0001
    frames = [read(camera) for _ in range(BUFFERS + 3)]
    assert [frame.trigger_id for frame in frames] == list(range(1, BUFFERS + 4))
    assert ["overrun" in frame.fault for frame in frames] == [True] * 2 + [False] * (BUFFERS + 1)
    assert all((frame.image is None) is bool(frame.fault) for frame in frames)


def test_each_software_trigger_has_its_frame() -> None:
    camera, _ = opened(trigger="software")
    assert camera.read(0.0) is None
    camera.trigger(41)
    camera.trigger(42)
    assert [read(camera).trigger_id, read(camera).trigger_id] == [41, 42]
    assert camera.read(0.0) is None


def test_only_a_camera_with_software_triggers_takes_them() -> None:
    camera, _ = opened()
    with pytest.raises(CameraError, match="synthetic flange takes no software trigger"):
        camera.trigger(1)


@pytest.mark.parametrize(("defective", "truths"), [(0.0, "good good"), (0.5, "good bad"), (1.0, "bad bad")])
def test_the_part_tells_the_truth(defective: float, truths: str) -> None:
    camera, _ = opened(trigger="software", defective=defective)
    for number in range(2):
        camera.trigger(number)
    found = [str(read(camera).part_id).rpartition("-")[2] for _ in range(2)]
    assert ["good" if truth == "good" else "bad" for truth in found] == truths.split()


def test_opened_again_it_goes_on_with_the_next_part() -> None:
    camera, _ = opened(trigger="hardware")
    assert read(camera).trigger_id == 1
    camera.close()
    camera.open()
    assert read(camera).trigger_id == 2
