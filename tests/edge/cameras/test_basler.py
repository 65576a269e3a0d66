from __future__ import annotations

import time
from typing import Any

import pytest

from edge.cameras.camera import Camera
from edge.cameras.kinds import make_camera
from edge.cameras.tables import BaslerCamera
from engines.errors import CameraError
from tests.edge.cameras.peers import bring_back, footprint, next_frame, refused

SERIAL = "0815-0000"


@pytest.fixture(autouse=True)
def emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """pylon's own emulation of a camera. Too large for `make install`, so CI goes without it."""
    monkeypatch.setenv("PYLON_CAMEMU", "1")
    pytest.importorskip("pypylon", reason="pip install '.[basler]' brings pylon's camera emulator (250 MB)")


def make(**settings: Any) -> Camera:
    return make_camera(BaslerCamera(serial=SERIAL, **settings))


@pytest.mark.parametrize(("pixel_format", "channels"), [("Mono8", ()), ("Mono12", ()), ("RGB8Packed", (3,))])
def test_frames_come_as_the_camera_is_asked_for(pixel_format: str, channels: tuple[int, ...]) -> None:
    camera = make(pixel_format=pixel_format, exposure_us=2000.0, gain=1.0, fps=50.0)
    bring_back(camera)
    image = next_frame(camera).image
    camera.close()
    assert image is not None
    assert image.shape[2:] == channels
    assert image.dtype == "uint8"


def test_running_free_the_newest_frame_is_taken_and_the_others_are_counted() -> None:
    bring_back(camera := make(fps=100.0))
    time.sleep(0.5)
    missed = next_frame(camera).missed
    camera.close()
    assert missed > 5


def test_each_software_trigger_has_its_frame_or_an_overrun() -> None:
    camera = make(trigger="software")
    camera.open()
    assert camera.read(0.2) is None
    camera.trigger(7)
    assert next_frame(camera).trigger_id == 7
    camera.trigger(8)
    camera.trigger(9)
    frames = [next_frame(camera), next_frame(camera)]
    camera.close()
    assert [(frame.trigger_id, bool(frame.fault)) for frame in frames] == [(8, False), (9, True)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"gain": 1e6}, "must be smaller"), ({"pixel_format": "Mono9"}, "Mono9|not valid|Feature")],
)
def test_what_the_camera_cannot_do_is_said(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(CameraError, match=said):
        make(**settings).open()


def test_an_absent_camera_is_named() -> None:
    assert "Basler camera 9999: No device is available" in refused(make_camera(BaslerCamera(serial="9999")))


def test_reconnects_leave_nothing_behind() -> None:
    camera = make(fps=200.0, frozen_frames=0)  # its first picture is always the same

    def reconnect(times: int) -> tuple[int, int, float]:
        for _ in range(times):
            bring_back(camera)
            camera.close()
        return footprint()

    descriptors, threads, memory = reconnect(5)
    after = reconnect(20)
    assert after[:2] <= (descriptors, threads)
    assert after[2] - memory < 32.0
