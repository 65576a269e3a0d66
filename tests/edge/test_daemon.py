from __future__ import annotations

import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import zmq

from edge.verdict import Evaluation
from engines.bundle import Bundle, update_bundle

CHECK_IMPORTS = """
import os, signal, sys, threading
from pathlib import Path
from edge.client import Subscriber
from edge.config import load_config
from edge.verdict import Verdict
config = load_config(Path(sys.argv[1]))
def stop_after_one_verdict():
    with Subscriber(config.publish.bind) as subscriber:
        while not isinstance(subscriber.receive(1.0), Verdict):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=stop_after_one_verdict, daemon=True).start()
from edge.daemon import run_station
code = run_station(config)
print(" ".join(sorted({name.partition(".")[0] for name in sys.modules})))
sys.exit(code)
"""


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def write_part(inbox: Path, render_part) -> Callable[..., None]:
    """`write_part(name, seed, defect=False)`: write a photograph slowly, as a camera's FTP client would."""

    def write(name: str, seed: int, defect: bool = False) -> None:
        data = cv2.imencode(".png", render_part(seed, defect))[1].tobytes()
        with (inbox / name).open("wb") as file:
            for start in range(0, len(data), len(data) // 4):
                file.write(data[start : start + len(data) // 4])
                file.flush()
                time.sleep(0.01)

    return write


@pytest.fixture
def clip(tmp_path: Path, render_part) -> Path:
    """A video of 30 parts at 25 frames a second, every tenth with a scratch."""
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (160, 160))
    for number in range(1, 31):
        writer.write(render_part(2000 + number, number % 10 == 0))
    writer.release()
    return path


def speed_up(clip: Path, factor: int) -> None:
    """Multiply the frame rate in the stream header of an AVI file."""
    data = bytearray(clip.read_bytes())
    rate = data.index(b"strh") + 32
    struct.pack_into("<I", data, rate, factor * struct.unpack_from("<I", data, rate)[0])
    clip.write_bytes(data)


def folder_camera(inbox: Path) -> str:
    return f'kind = "folder"\npath = "{inbox}"\nsettle_s = 0.1\nretry_s = 0.1\nretry_max_s = 0.2'


def accounted(last) -> bool:
    """Whether the counters of a heartbeat add up."""
    counters = last.counters
    judged = counters.ok + counters.not_ok + counters.not_decidable
    return counters.frames == judged + sum(counters.dropped.values()) and judged == last.last_seq


def test_a_camera_that_was_moved_stops_the_line_and_the_heartbeat_says_why(
    start_daemon, listener, inbox: Path, render_part
) -> None:
    def alarm(heard) -> bool:
        charts = heard.heartbeats[-1].cameras["top"].charts if heard.heartbeats else {}
        return "camera_moved" in charts and charts["camera_moved"].alarm

    start_daemon(folder_camera(inbox))
    for number in range(16):
        cv2.imwrite(str(inbox / f"{number:02}.png"), np.roll(render_part(300 + number), 16, axis=1))
    status = listener.until(alarm).heartbeats[-1].cameras["top"].charts["camera_moved"]
    assert "right of its usual place" in status.reason
    assert status.level > 1
    for number in range(16, 48):
        cv2.imwrite(str(inbox / f"{number:02}.png"), render_part(300 + number))
    heard = listener.until(lambda heard: len(heard.verdicts) == 48 and not alarm(heard))
    assert heard.verdicts[16].evaluation is Evaluation.NOT_DECIDABLE
    assert heard.verdicts[16].reason.startswith("guard camera_moved: over the last ")
    assert [verdict.evaluation for verdict in heard.verdicts[-8:]].count(Evaluation.OK) >= 6


def test_every_file_of_a_watched_folder_has_its_verdict(
    start_daemon, listener, inbox: Path, write_part: Callable[..., None]
) -> None:
    for number in range(5):
        write_part(f"early-{number}.png", 100 + number)
    daemon = start_daemon(folder_camera(inbox))
    listener.until(lambda heard: len(heard.verdicts) == 5)
    for number in range(5):
        write_part(f"late-{number}.png", 200 + number, defect=number == 3)
    (inbox / "late-5.png").write_text("no image at all")
    listener.until(lambda heard: len(heard.verdicts) == 11)
    assert daemon.end() == 0

    heard = listener.until(lambda heard: "Stopped" in heard.states)
    assert [v.part_id for v in heard.verdicts] == [
        *(f"early-{number}.png" for number in range(5)),
        *(f"late-{number}.png" for number in range(6)),
    ]
    assert [v.seq for v in heard.verdicts] == list(range(1, 12))
    assert heard.gaps == []
    assert heard.verdicts[8].evaluation is Evaluation.NOT_OK
    assert heard.verdicts[10].evaluation is Evaluation.NOT_DECIDABLE
    assert "late-5.png: no image that can be decoded" in heard.verdicts[10].reason
    assert heard.states[-3:] == ["Running", "Stopping", "Stopped"]
    assert accounted(heard.heartbeats[-1])
    assert "passed the parity gate" in "\n".join(daemon.errors)


def test_sigterm_judges_and_publishes_every_frame_already_taken(start_daemon, listener, inbox: Path) -> None:
    big = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8))[1].tobytes()
    for number in range(60):
        (inbox / f"{number:03d}.jpg").write_bytes(big)
    daemon = start_daemon(folder_camera(inbox), "[pipeline]\nframes = 8\n")
    listener.until(lambda heard: len(heard.verdicts) >= 3)
    assert daemon.end(signal.SIGTERM) == 0
    heard = listener.until(lambda heard: "Stopped" in heard.states)
    last = heard.heartbeats[-1]
    assert heard.verdicts[-1].seq == last.last_seq == len(heard.verdicts)
    assert last.counters.frames == last.last_seq < 60
    assert [v.part_id for v in heard.verdicts] == [f"{number:03d}.jpg" for number in range(last.last_seq)]


def test_ctrl_c_ends_it_in_order_too(start_daemon, listener, inbox: Path) -> None:
    daemon = start_daemon(folder_camera(inbox))
    listener.until(lambda heard: "Running" in heard.states)
    assert daemon.end(signal.SIGINT) == 0
    listener.until(lambda heard: "Stopped" in heard.states)


def test_it_can_be_stopped_while_it_waits_for_a_subscriber(start_daemon, inbox: Path) -> None:
    daemon = start_daemon(folder_camera(inbox))
    deadline = time.monotonic() + 60
    while "passed the parity gate" not in "\n".join(daemon.errors):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert daemon.end() == 0


def test_a_second_signal_ends_it_at_once(start_daemon, listener, tmp_path: Path) -> None:
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 64))
    for _ in range(5000):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    # Decoding is much faster than the engine, so that thousands of frames wait when the signal comes.
    daemon = start_daemon(f'kind = "video"\npath = "{path}"', "[pipeline]\nframes = 5000\n")
    listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].counters.frames > 3000)
    daemon.process.send_signal(signal.SIGTERM)
    listener.until(lambda heard: "Stopping" in heard.states)
    assert daemon.end(signal.SIGTERM) == -signal.SIGTERM
    assert "Stopped" not in listener.heard.states


def test_a_video_is_judged_to_its_end_and_then_the_daemon_ends(start_daemon, listener, clip: Path) -> None:
    daemon = start_daemon(f'kind = "video"\npath = "{clip}"')
    heard = listener.until(lambda heard: "Stopped" in heard.states)
    assert daemon.wait() == 0
    assert [v.frame_id for v in heard.verdicts] == list(range(1, 31))
    assert {v.frame_id for v in heard.verdicts if v.evaluation is Evaluation.NOT_OK} >= {10, 20, 30}
    assert heard.heartbeats[-1].counters.dropped == {}


def test_a_live_source_keeps_the_newest_frame_and_counts_the_others(start_daemon, listener, clip: Path) -> None:
    # No engine keeps up with 2500 frames a second.
    speed_up(clip, 100)
    daemon = start_daemon(f'kind = "video"\npath = "{clip}"\npace = "realtime"')
    heard = listener.until(lambda heard: "Stopped" in heard.states)
    assert daemon.wait() == 0
    last = heard.heartbeats[-1]
    assert list(last.counters.dropped) == ["newer frame"]
    assert last.counters.frames == 30
    assert accounted(last)
    frames = [v.frame_id for v in heard.verdicts]
    assert frames == sorted(set(frames))
    assert frames[-1] == 30


def test_an_absent_camera_degrades_the_station_and_its_return_heals_it(
    start_daemon, listener, inbox: Path, write_part: Callable[..., None]
) -> None:
    inbox.rmdir()
    daemon = start_daemon(folder_camera(inbox))
    heard = listener.until(lambda heard: "Degraded" in heard.states)
    assert "expected a folder of images" in heard.heartbeats[-1].reason
    inbox.mkdir()
    listener.until(lambda heard: heard.states[-1] == "Running")
    write_part("a.png", 100)
    listener.until(lambda heard: heard.verdicts)
    shutil.rmtree(inbox)
    listener.until(lambda heard: heard.states[-1] == "Degraded")
    inbox.mkdir()
    listener.until(lambda heard: heard.states[-1] == "Running")
    write_part("a.png", 100)
    heard = listener.until(lambda heard: len(heard.verdicts) == 2)
    assert daemon.end() == 0
    assert heard.heartbeats[-1].counters.reconnects == 2


def test_the_stage_times_account_for_the_total(start_daemon, listener, clip: Path) -> None:
    start_daemon(f'kind = "video"\npath = "{clip}"')
    for verdict in listener.until(lambda heard: "Stopped" in heard.states).verdicts:
        times = msgspec.structs.asdict(verdict.stage_ms)
        total = times.pop("total")
        assert all(ms is not None and 0 <= ms <= total for ms in times.values())
        assert sum(times.values()) <= total + 0.1


def refused(daemon) -> str:
    """The one line with which a daemon refused to start."""
    assert daemon.wait() == 2
    lines = [line for line in daemon.errors if line.startswith("edge-inspect run: ")]
    assert len(lines) == 1
    assert "Traceback" not in "\n".join(daemon.errors)
    assert daemon.errors[-1] == lines[0]
    return lines[0]


def test_a_port_in_use_is_one_line_and_exit_code_2(start_daemon, endpoint: str, inbox: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        other.bind(endpoint)
        assert f"publish.bind: {endpoint} is in use already" in refused(start_daemon(folder_camera(inbox)))


def test_a_misspelt_key_is_one_line_with_the_nearest_key_and_exit_code_2(start_daemon, inbox: Path) -> None:
    daemon = start_daemon(folder_camera(inbox).replace("settle_s", "setle_s"))
    assert "unknown key `cameras.top.setle_s`; did you mean `settle_s`?" in refused(daemon)


def test_an_uncalibrated_bundle_is_refused_with_the_remedy(
    start_daemon, inbox: Path, uncalibrated_bundle: Bundle
) -> None:
    line = refused(start_daemon(folder_camera(inbox), bundle=uncalibrated_bundle.path))
    assert "is not calibrated; run: edge-inspect calibrate" in line


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json"])
def test_a_bundle_with_one_byte_changed_is_refused(
    start_daemon, inbox: Path, calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle], name: str
) -> None:
    bundle = bundle_copy(calibrated_bundle)
    data = bytearray((bundle.path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle.path / name).write_bytes(data)
    line = refused(start_daemon(folder_camera(inbox), bundle=bundle.path))
    assert f"{name} was altered" in line


def test_an_engine_that_was_not_calibrated_is_refused(start_daemon, inbox: Path, calibrated_bundle: Bundle) -> None:
    assert calibrated_bundle.latest_calibration.precision != "int8"
    line = refused(start_daemon(folder_camera(inbox), '[engine]\nprecision = "int8"'))
    assert "not for auto int8" in line


def test_an_engine_that_computes_something_else_is_refused_and_nothing_is_armed(
    start_daemon, listener, inbox: Path, calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]
) -> None:
    bundle = bundle_copy(calibrated_bundle)
    calibration = bundle.latest_calibration
    golden = tuple(
        msgspec.structs.replace(part, score=part.score + 10 * calibration.golden_tolerance)
        for part in calibration.golden
    )
    changed = msgspec.structs.replace(calibration, golden=golden)
    update_bundle(bundle, msgspec.structs.replace(bundle.info, calibrations=(changed,)))
    daemon = start_daemon(folder_camera(inbox), bundle=bundle.path)
    assert "the parity gate keeps" in refused(daemon)
    assert "Running" not in listener.heard.states
    assert listener.heard.verdicts == []


def test_the_daemon_imports_neither_torch_nor_the_trainer(
    tmp_path: Path, endpoint: str, inbox: Path, write_part: Callable[..., None], calibrated_bundle: Bundle, cli
) -> None:
    write_part("a.png", 100)
    station = tmp_path / "station.toml"
    station.write_text(
        f'station = "cell-7"\n[recipes.flange]\nbundle = "{calibrated_bundle.path}"\n'
        f"[cameras.top]\n{folder_camera(inbox)}\n"
        f'[publish]\nbind = "{endpoint}"\nwait_for_subscriber_s = 20\n'
    )
    command = [cli[0], "-c", CHECK_IMPORTS, str(station)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    imported = set(result.stdout.split())
    assert {"cv2", "zmq", "edge", "calibration", "engines"} <= imported
    assert not imported & {"torch", "trainer", "onnx", "scipy", "sklearn", "safetensors", "tqdm", "openvino_telemetry"}


def test_a_bundle_with_tiles_finds_a_speck_in_a_large_picture_where_it_is(
    start_daemon, listener, inbox: Path, tiled_bundle: Bundle, render_plate
) -> None:
    """The plate lies in the camera's region of interest, and regions are in the camera's own pixels.

    Good plates are of those that calibrated: guards may stop one in twenty others.
    """
    for name, seed, speck in (("1.png", 101, None), ("2.png", 401, (384, 192)), ("3.png", 102, None)):
        picture = np.zeros((600, 800, 3), np.uint8)
        picture[90:570, 150:790] = render_plate(seed, speck)
        cv2.imwrite(str(inbox / name), picture)
    daemon = start_daemon(folder_camera(inbox), "roi = [150, 90, 640, 480]", bundle=tiled_bundle.path)
    heard = listener.until(lambda heard: len(heard.verdicts) == 3)
    assert daemon.end() == 0
    found = {verdict.part_id: verdict for verdict in heard.verdicts}
    assert [verdict.evaluation for verdict in found.values()] == [Evaluation.OK, Evaluation.NOT_OK, Evaluation.OK]
    (region,) = found["2.png"].regions
    assert region.x <= 150 + 384 < region.x + region.width
    assert region.y <= 90 + 192 < region.y + region.height
    assert max(region.width, region.height) < 240  # a plate has 640 pixels


def test_a_camera_with_too_few_pixels_for_the_tiles_is_told_so_with_every_part(
    start_daemon, listener, inbox: Path, tiled_bundle: Bundle, render_part
) -> None:
    cv2.imwrite(str(inbox / "1.png"), render_part(1))
    daemon = start_daemon(folder_camera(inbox), bundle=tiled_bundle.path)
    (verdict,) = listener.until(lambda heard: heard.verdicts).verdicts
    assert daemon.end() == 0
    assert verdict.evaluation is Evaluation.NOT_DECIDABLE
    assert "expected at least 238x180 pixels for 3x4 tiles of 64 pixels, found 160x160" in verdict.reason
