from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.cameras.camera import Camera, Frame
from edge.cameras.genicam import GenICam
from edge.cameras.kinds import make_camera
from edge.cameras.tables import GenICamCamera
from engines.errors import CameraError
from tests.edge.cameras.peers import Peer, bring_back, footprint, next_frame, refused

SIMULATOR = "arv-fake-gv-camera-0.8"
LOOPBACK = "127.0.0.1"
Simulate = Callable[..., Peer]


@pytest.fixture
def simulate(
    start_peer: Callable[..., Peer], peer: Callable[[str], Path], need_gi: Callable[[str, str], None]
) -> Simulate:
    """`simulate(*options)`: Aravis's GigE Vision camera on loopback, 512x512 at 25 a second."""
    need_gi("Aravis", "0.8")
    program = str(peer(SIMULATOR))
    return lambda *options: start_peer([program, "-i", LOOPBACK, *options])


def make(device: str = LOOPBACK, **settings: Any) -> Camera:
    return make_camera(GenICamCamera(device=device, **{"frame_timeout_s": 1.0, **settings}))


def good(frame: Frame) -> bool:
    return frame.image is not None


def test_frames_come_as_the_camera_is_asked_for(simulate: Simulate) -> None:
    simulate()
    camera = make(fps=50, exposure_us=8000, gain=2.0, pixel_format="RGB8", packet_size=8000)
    bring_back(camera)
    frames = [next_frame(camera) for _ in range(5)]
    now_ns = time.monotonic_ns()
    camera.close()
    for frame in frames:
        assert frame.image is not None
        assert frame.image.shape == (512, 512, 3)
        assert 0 <= now_ns - frame.captured_ns < 10e9
    assert camera.read(0.0) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"exposure_us": 1e9}, "expected exposure_us from 10 to 1e[+]07, found 1e[+]09"),
        ({"gain": 99.0}, "expected gain from 0 to 10, found 99"),
        ({"fps": 5000.0}, "expected fps from 0.1 to 1000, found 5000"),
        ({"pixel_format": "Mono9"}, "Mono9"),
        ({"trigger": "hardware", "trigger_line": "Line7"}, "Line7"),
    ],
)
def test_what_the_camera_cannot_do_is_said(simulate: Simulate, settings: dict[str, Any], said: str) -> None:
    simulate()
    bring_back(camera := make())
    camera.close()
    with pytest.raises(CameraError, match=said):
        make(**settings).open()


def test_it_survives_a_camera_that_hangs_dies_and_returns(simulate: Simulate) -> None:
    simulator = simulate()
    bring_back(camera := make())
    simulator.send(signal.SIGSTOP)
    with pytest.raises(CameraError, match="gave no frame for 1"):
        next_frame(camera, lambda _: False)
    simulator.send(signal.SIGCONT)
    camera.close()
    bring_back(camera)

    simulator.kill()
    with pytest.raises(CameraError, match="gave no frame for 1"):
        next_frame(camera, lambda _: False)
    simulator.start()
    camera.close()
    bring_back(camera)
    camera.close()


def test_an_absent_camera_is_named(simulate: Simulate) -> None:
    assert "GenICam camera 127.0.0.1: " in refused(make())


def test_frames_that_lost_packets_are_no_pictures_and_every_number_is_accounted_for(simulate: Simulate) -> None:
    simulate("-r", "3")
    bring_back(camera := make(fps=100, packet_size=1500))
    frames = [next_frame(camera) for _ in range(60)]
    camera.close()
    incomplete = [frame for frame in frames if frame.image is None]
    assert incomplete
    assert all("incomplete frame: " in frame.fault for frame in incomplete)
    assert [frame.frame_id for frame in frames] == list(range(frames[0].frame_id, frames[0].frame_id + 60))


def test_running_free_the_newest_frame_is_taken_and_the_others_are_counted(simulate: Simulate) -> None:
    simulate()
    bring_back(camera := make(fps=100))
    time.sleep(0.5)
    frame = next_frame(camera)
    camera.close()
    assert frame.missed > 5


def test_each_software_trigger_has_its_frame_or_an_overrun(simulate: Simulate) -> None:
    simulate()
    camera = make(trigger="software")
    camera.open()
    assert camera.read(0.2) is None
    for trigger_id in (7, 8):
        camera.trigger(trigger_id)
        frame = next_frame(camera)
        assert (frame.trigger_id, good(frame)) == (trigger_id, True)
    camera.trigger(9)
    camera.trigger(10)
    frames = [next_frame(camera), next_frame(camera)]
    camera.close()
    assert [frame.trigger_id for frame in frames] == [9, 10]
    assert frames[1].fault == "overrun: the frame of trigger 9 was not there yet"
    assert not frames[0].fault


def test_a_software_trigger_that_is_not_answered_is_a_loss(simulate: Simulate) -> None:
    simulator = simulate()
    camera = make(trigger="software", frame_timeout_s=0.5)
    camera.open()
    simulator.send(signal.SIGSTOP)
    with pytest.raises(CameraError):
        camera.trigger(1)
    simulator.send(signal.SIGCONT)
    camera.close()
    camera.open()
    camera.trigger(2)
    assert next_frame(camera).trigger_id == 2
    camera.close()


def test_with_hardware_triggers_silence_is_no_loss_and_frames_have_the_cameras_number(simulate: Simulate) -> None:
    simulate()
    # The simulator has no wire to fire: its input is the software trigger, fired behind the camera's back.
    camera = GenICam(GenICamCamera(device=LOOPBACK, trigger="hardware", trigger_line="Software"))
    camera.open()
    assert camera.read(1.2) is None
    numbers = []
    for _ in range(3):
        camera._camera.software_trigger()
        numbers.append(next_frame(camera).trigger_id)
    camera.close()
    assert numbers[0] is not None
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


def test_losing_control_of_a_triggered_camera_is_noticed(simulate: Simulate) -> None:
    simulator = simulate()
    camera = make(trigger="hardware")
    camera.open()
    simulator.kill()
    with pytest.raises(CameraError, match="no longer answers"):
        next_frame(camera, lambda _: False)
    simulator.start()
    camera.close()


def test_reconnects_leave_nothing_behind(simulate: Simulate) -> None:
    simulate()
    camera = make()

    def reconnect(times: int) -> tuple[int, int, float]:
        for _ in range(times):
            bring_back(camera)
            camera.close()
        return footprint()

    descriptors, threads, memory = reconnect(3)
    after = reconnect(15)
    assert after[:2] <= (descriptors, threads)
    assert after[2] - memory < 16.0


@pytest.fixture
def link(peer: Callable[[str], Path]) -> Iterator[Callable[..., None]]:
    """A network namespace at 10.98.76.2 behind a cable; `link("down")` pulls it and `link("up")` plugs it in."""
    name, ip = f"camera-{os.getpid()}", str(peer("ip"))

    def run(*arguments: str) -> None:
        subprocess.run([ip, *arguments], check=True, capture_output=True)

    try:
        run("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here (root only): {error.stderr.decode().strip()}")
    try:
        ours, theirs = f"ca{os.getpid()}", f"cb{os.getpid()}"
        run("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        run("addr", "add", "10.98.76.1/24", "dev", ours)
        run("-n", name, "addr", "add", "10.98.76.2/24", "dev", theirs)
        run("link", "set", ours, "up")
        run("-n", name, "link", "set", theirs, "up")
        yield lambda state: run("-n", name, "link", "set", theirs, state)
    finally:
        run("netns", "del", name)


def test_a_cable_pulled_for_a_second_costs_only_the_frames_of_that_second(
    simulate: Simulate, start_peer: Callable[..., Peer], link: Callable[..., None]
) -> None:
    where = ["ip", "netns", "exec", f"camera-{os.getpid()}"]
    start_peer([*where, SIMULATOR, "-i", "10.98.76.2"])
    bring_back(camera := make("10.98.76.2", frame_timeout_s=4.0))
    link("down")
    time.sleep(1.0)
    link("up")
    lost = next_frame(camera, lambda frame: frame.missed > 0)
    assert lost.missed > 10
    next_frame(camera, good)
    camera.close()
