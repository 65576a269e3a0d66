from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.cameras.camera import Camera
from edge.cameras.kinds import make_camera
from edge.cameras.rtsp import read_password, rtsp_pipeline
from edge.cameras.tables import RTSPCamera
from engines.errors import CameraError
from tests.edge.cameras.peers import Peer, bring_back, footprint, lose, next_frame, refused

StartRTSP = Callable[..., tuple[Peer, str]]
BACKENDS = ("gstreamer", "opencv")


def make(url: str, backend: Any, **settings: Any) -> Camera:
    return make_camera(RTSPCamera(url=url, backend=backend, **{"frame_timeout_s": 1.5, **settings}))


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_survives_a_server_that_hangs_dies_and_returns(start_rtsp: StartRTSP, backend: str) -> None:
    server, url = start_rtsp()
    camera = make(url, backend)
    image = bring_back(camera).image
    assert image is not None
    assert image.shape == (240, 320, 3)

    server.send(signal.SIGSTOP)
    assert url in lose(camera)
    server.send(signal.SIGCONT)
    bring_back(camera)

    server.kill()
    assert url in lose(camera)
    assert url in refused(camera)
    server.start()
    bring_back(camera)
    camera.close()


def test_another_size_in_mid_stream_is_what_it_is(start_rtsp: StartRTSP) -> None:
    server, url = start_rtsp()
    camera = make(url, "gstreamer")
    bring_back(camera)
    server.send(signal.SIGUSR1)
    frame = next_frame(camera, lambda frame: frame.image is not None and frame.image.shape == (120, 160, 3))
    camera.close()
    assert not frame.fault


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_right_password_opens(start_rtsp: StartRTSP, tmp_path: Path, backend: str) -> None:
    _, url = start_rtsp("line", "s3cret/@:")
    password = tmp_path / "password"
    camera = make(url, backend, user="line", password_file=password)
    with pytest.raises(CameraError, match="expected a password in"):
        camera.open()
    camera.close()

    password.write_text("guessed\n")
    assert "guessed" not in refused(camera)

    password.write_text("s3cret/@:\n")
    bring_back(camera)
    camera.close()


@pytest.mark.parametrize(("backend", "times"), [("gstreamer", 60), ("opencv", 1000)])
def test_refused_connections_leave_nothing_behind(port: int, backend: str, times: int) -> None:
    camera = make(f"rtsp://127.0.0.1:{port}/line", backend)

    def knock(times: int) -> tuple[int, int, float]:
        for _ in range(times):
            refused(camera)
        return footprint()

    descriptors, threads, memory = knock(times // 10)
    after = knock(times)
    assert after[0] <= descriptors + 4
    assert after[1] <= threads + 4  # GStreamer keeps a pool
    assert after[2] - memory < 16.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_reconnects_to_a_real_stream_leave_nothing_behind(start_rtsp: StartRTSP, backend: str) -> None:
    _, url = start_rtsp()
    camera = make(url, backend)

    def reconnect(times: int) -> tuple[int, int, float]:
        for _ in range(times):
            bring_back(camera)
            camera.close()
        return footprint()

    descriptors, threads, memory = reconnect(2)
    after = reconnect(4)
    assert after[0] <= descriptors + 4
    assert after[1] <= threads + 4
    assert after[2] - memory < 16.0


@pytest.mark.parametrize(
    ("codec", "transport", "parts"),
    [("h264", "tcp", "rtph264depay"), ("h265", "udp", "avdec_h265"), ("mjpeg", "tcp", "jpegdec")],
)
def test_the_pipeline_has_no_jitter_buffers_delay(codec: Any, transport: Any, parts: str) -> None:
    text = rtsp_pipeline(RTSPCamera(url="rtsp://camera/1", codec=codec, transport=transport))
    assert "latency=0" in text
    assert f"protocols={transport}" in text
    assert parts in text


@pytest.mark.parametrize(
    ("url", "valid"),
    [
        ("rtsp://10.0.0.7:554/stream1", True),
        ("rtsps://camera/line", True),
        ("rtsp://user:secret@camera/line", False),
        ("http://camera/line", False),
    ],
)
def test_an_address_holds_no_secret(url: str, valid: bool) -> None:
    data = {"kind": "rtsp", "url": url}
    if valid:
        assert msgspec.convert(data, RTSPCamera).url == url
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(data, RTSPCamera)


def test_a_password_is_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("a b \nnot this\n")
    assert read_password(path) == "a b"
    assert read_password(None) == ""
