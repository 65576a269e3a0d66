"""The latency benchmark starts the real daemon, accounts for every frame, and hides no waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import bench_latency, bundles
from benchmarks.bench_latency import (
    ENGINE,
    OWN_THREADS,
    SOAK_SAMPLES,
    Case,
    Daemon,
    Heard,
    LatencyError,
    MemoryCamera,
    Order,
    Paced,
    find_cases,
    main,
    pace,
    random_bundle,
)
from benchmarks.disturbance import Disturbance, own_ticks, worst
from edge.verdict import Evaluation, StageTimes, Verdict
from engines.bundle import Bundle
from engines.errors import CalibrationError

MS = 1_000_000
REPOSITORY = Path(__file__).parents[2]

Images = list[NDArray[np.uint8]]


@pytest.fixture(scope="session")
def images(render_part) -> Images:
    return [render_part(seed) for seed in (100, 101)]


@pytest.fixture
def case(calibrated_bundle: Bundle) -> Case:
    calibration = calibrated_bundle.latest_calibration
    return Case(calibration.backend, calibration.precision, 1)


@pytest.fixture
def daemon(tmp_path: Path, calibrated_bundle: Bundle, images: Images, case: Case) -> Iterator[Daemon]:
    with Daemon(tmp_path, calibrated_bundle.path, images, case) as found:
        yield found


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, images: Images) -> None:
    """A quick run of a few small frames."""
    monkeypatch.setattr(bench_latency, "QUICK", (12, 2))
    monkeypatch.setattr(bundles, "rendered_frames", lambda count: images)


def verdict(captured_ns: int, **stages: float) -> Verdict:
    return Verdict(
        session_id="s",
        station="latency",
        sent_at="",
        seq=1,
        camera="top",
        recipe="flange",
        frame_id=1,
        part_id=None,
        trigger_id=None,
        evaluation=Evaluation.OK,
        reason="",
        score=0.0,
        threshold=1.0,
        margin=1.0,
        regions=(),
        bundle_digest="",
        captured_at="",
        captured_ns=captured_ns,
        stage_ms=StageTimes(**stages),
    )


def children() -> set[int]:
    """Living or unreaped child processes of this one."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def test_a_frame_counts_from_when_it_was_due(images: Images) -> None:
    camera = MemoryCamera(images)
    start_ns = time.monotonic_ns() - 10**10
    camera.orders.put(Order(3, start_ns, 5 * MS))
    frames = [camera.read(0.1) for _ in range(3)]
    assert [frame.captured_ns for frame in frames if frame] == [start_ns, start_ns + 5 * MS, start_ns + 10 * MS]
    assert camera.read(0.0) is None


def test_a_frame_does_not_come_before_it_is_due(images: Images) -> None:
    camera = MemoryCamera(images)
    due_ns = time.monotonic_ns() + 20 * MS
    camera.orders.put(Order(1, due_ns, MS))
    assert camera.read(0.0) is None
    while (frame := camera.read(0.001)) is None:
        pass
    assert frame.captured_ns == due_ns <= time.monotonic_ns()


def test_without_a_rate_a_frame_counts_from_when_it_is_read(images: Images) -> None:
    camera = MemoryCamera(images)
    camera.orders.put(Order(1))
    camera.orders.put(Order(2))
    before = time.monotonic_ns()
    frames = [frame for _ in range(3) if (frame := camera.read(0.1))]
    assert [frame.frame_id for frame in frames] == [1, 2, 3]
    assert all(frame.captured_ns >= before for frame in frames)
    assert frames[0].image is frames[2].image is images[0]
    assert frames[1].image is images[1]


def test_stages_and_wire_add_up_to_the_latency() -> None:
    heard = Heard(verdict(5 * MS, capture=0.0, queue=1.0, preprocess=2.0, infer=3.0, total=7.0), 15 * MS)
    assert heard.latency_ms == 10.0
    assert heard.stages["wire"] == 3.0
    assert heard.stages["decide"] == 0.0


def test_percentiles_are_latencies_that_occurred() -> None:
    heard = [Heard(verdict(0, capture=0.0, queue=0.0), ms * MS) for ms in range(1, 101)]
    paced = Paced(1.0, heard, Disturbance())
    assert [paced.percentile(percent) for percent in (50, 95, 99)] == [50.0, 95.0, 99.0]


def test_the_latency_of_a_late_frame_includes_its_wait(daemon: Daemon) -> None:
    daemon.order(Order(6, time.monotonic_ns() - 10**10, 1000 * MS))
    waits = [heard.latency_ms for heard in daemon.hear(6)]
    assert all(wait >= 10_000 - 1000 * number for number, wait in enumerate(waits))
    daemon.finish()


def test_every_frame_has_its_verdict_and_the_daemon_ends_in_order(daemon: Daemon) -> None:
    daemon.order(Order(5))
    daemon.hear(5)
    paced = pace(daemon, 7, 500.0)
    assert [heard.verdict.frame_id for heard in paced.heard] == list(range(6, 13))
    assert [heard.verdict.seq for heard in paced.heard] == list(range(6, 13))
    ticks = daemon.thread_ticks()
    assert {*OWN_THREADS, "zmq", ENGINE} == set(ticks)
    assert ticks[ENGINE] + ticks["MainThread"] > 0
    assert 10 < daemon.memory_mib() <= daemon.memory_mib("VmHWM")
    daemon.finish()
    assert daemon.process.returncode == 0


def test_the_daemon_loads_nothing_of_the_trainer(daemon: Daemon) -> None:
    daemon.order(Order(1))
    daemon.hear(1)
    maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    assert "zmq" in maps
    assert "libtorch" not in maps


def test_a_daemon_that_dies_is_an_error_with_its_last_words(daemon: Daemon) -> None:
    daemon.order(Order(1))
    daemon.hear(1)
    daemon.process.kill()
    with pytest.raises(LatencyError, match=r"ended with exit code -9; its last lines(.|\n)*parity gate"):
        daemon.hear(1)


def test_a_frame_that_cannot_be_judged_is_an_error(tmp_path: Path, calibrated_bundle: Bundle, case: Case) -> None:
    odd = [np.zeros((8, 8, 5), np.uint8)]
    with Daemon(tmp_path, calibrated_bundle.path, odd, case) as daemon:
        daemon.order(Order(1))
        with pytest.raises(LatencyError, match="could not judge frame 1"):
            daemon.hear(1)


def test_an_interruption_leaves_no_process(
    tmp_path: Path, calibrated_bundle: Bundle, images: Images, case: Case
) -> None:
    with pytest.raises(KeyboardInterrupt), Daemon(tmp_path, calibrated_bundle.path, images, case) as daemon:  # noqa: PT012
        daemon.order(Order(1000))
        daemon.hear(1)
        raise KeyboardInterrupt
    assert daemon.process.returncode == -signal.SIGKILL


def test_the_daemon_ends_when_whoever_started_it_was_killed(
    tmp_path: Path, calibrated_bundle: Bundle, images: Images, case: Case
) -> None:
    # Of the bundle's own product, or its guards would refuse it.
    frame = tmp_path / "frame.npy"
    np.save(frame, images[0])
    code = (
        "import sys, time; from pathlib import Path; import numpy as np\n"
        "from benchmarks.bench_latency import Case, Daemon, Order\n"
        f"with Daemon(Path({str(tmp_path)!r}), Path({str(calibrated_bundle.path)!r}),"
        f" [np.load({str(frame)!r})], Case({case.backend!r}, {case.precision!r}, 1)) as daemon:\n"
        "    daemon.order(Order(1)); daemon.hear(1); print(daemon.process.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY) as parent:
        assert parent.stdout is not None
        orphan = Path("/proc") / parent.stdout.readline().decode().strip()
        parent.kill()
    deadline = time.monotonic() + 60
    while orphan.exists() and (orphan / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_quick_run_writes_rows_and_leaves_no_child(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], calibrated_bundle: Bundle
) -> None:
    path = tmp_path / "latency.json"
    before = children()
    arguments = ["--quick", "--in-flight", "2", "--soak", "20", "--json", str(path)]
    assert main([*arguments, "--bundle", str(calibrated_bundle.path)]) == 0
    assert children() <= before
    found = json.loads(path.read_text())
    assert found["machine"]["cpu"]
    (row,) = found["rows"]
    assert (row["backbone"], row["in_flight"], row["frames"], row["rounds"]) == ("resnet18", 2, 12, 2)
    assert row["engine"] == calibrated_bundle.latest_calibration.backend
    assert row["precision"] == calibrated_bundle.latest_calibration.precision
    assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert row["rate_fps"] == pytest.approx(0.7 * row["sustained_fps"], rel=1e-3)
    assert set(row["stages"]) == {"capture", "queue", "preprocess", "infer", "decide", "publish", "wire"}
    assert row["own_cpu_ms"] >= 0
    assert row["engine_cpu_ms"] == row["threads_cpu_ms"][ENGINE]
    low, high = row["spread"]["p99_ms"]
    assert low <= row["p99_ms"] <= high
    assert isinstance(row["disturbed"], str)
    assert len(row["soak_rss_mib"]) == SOAK_SAMPLES
    said = capsys.readouterr().out
    assert "times p50" in said
    assert found["machine"]["cpu"] in said
    assert "growth" in said


@pytest.mark.parametrize(
    ("option", "extra"),
    [(["--archive"], "the archive"), (["--archive", "--viewers", "2"], "the archive and 2 viewers")],
    ids=["archive", "viewers"],
)
def test_what_is_not_to_cost_a_verdict_anything_is_measured_in_turns_at_the_same_rate(
    small: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    calibrated_bundle: Bundle,
    option: list[str],
    extra: str,
) -> None:
    path = tmp_path / "latency.json"
    arguments = ["--quick", "--in-flight", "1", "--rounds", "1", *option, "--json", str(path)]
    assert main([*arguments, "--bundle", str(calibrated_bundle.path)]) == 0
    without, beside = json.loads(path.read_text())["rows"]
    assert beside["rate_fps"] == without["rate_fps"]
    assert beside["cost"]["p50"] == [pytest.approx(beside["p50_ms"] / without["p50_ms"], rel=0.01)]
    assert "cost" not in without
    said = capsys.readouterr()
    assert f"p99 with {extra} over without: median" in said.out
    assert f"1 in flight, with {extra}" in said.err


def test_the_daemon_has_the_priority_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "latency.json"
    code = (
        "import sys; from benchmarks import bench_latency; bench_latency.QUICK = (12, 3)\n"
        "sys.exit(bench_latency.main(sys.argv[1:]))"
    )
    arguments = ["--quick", "--in-flight", "1", "--rounds", "1", "--realtime", "1", "--backbone", "resnet18"]
    # In a process of its own: what the tests start after it would have the priority, too.
    command = [sys.executable, "-c", code, *arguments, "--precision", "f32", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    if "expected root or CAP_SYS_NICE" in done.stderr:
        pytest.skip("a real-time priority needs root or CAP_SYS_NICE")
    assert done.returncode == 0, done.stderr
    assert [row["realtime"] for row in json.loads(path.read_text())["rows"]] == [1]
    assert "real-time priority 1" in done.stdout


def test_a_bundle_of_random_weights_is_calibrated_for_each_precision_asked_for(tmp_path: Path, images: Images) -> None:
    bundle = random_bundle(tmp_path, "resnet18", "onnxruntime", ["f32", "auto"], images)
    assert [(each.backend, each.precision) for each in bundle.info.calibrations] == [("onnxruntime", "f32")]
    assert find_cases(bundle, "onnxruntime", ["f32", "auto"], 3) == [Case("onnxruntime", "f32", 3)]
    with pytest.raises(CalibrationError, match="not for openvino f32"):
        find_cases(bundle, "openvino", ["f32"], 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rate", "0"], "frames a second above 0"),
        (["--rate", "fast"], "frames a second above 0"),
        (["--rate", "nan"], "frames a second above 0"),
        (["--in-flight", "0"], "auto or a number from 1 to 1024"),
        (["--realtime", "100"], "a number from 1 to 99"),
        (["--soak", "19"], "20 frames or more"),
        (["--precision", "f8"], "invalid choice: 'f8'"),
        (["--engine", "caffe"], "invalid choice: 'caffe'"),
        (["--backbone", "vgg"], "invalid choice: 'vgg'"),
        (["--bundle", "x", "--backbone", "resnet18"], "not allowed with argument"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bundle", "no/such/bundle"], "expected a bundle at"),
        (["--json", "no/such/folder/latency.json"], "expected a file in an existing folder"),
    ],
)
def test_bad_files_are_one_line(
    small: None, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench_latency: ")
    assert said in error
    assert error.count("\n") == 1


def test_the_time_of_children_is_our_own() -> None:
    before = own_ticks()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"], check=True)
    assert own_ticks() - before >= 0.15 * os.sysconf("SC_CLK_TCK")


def test_a_window_is_disturbed_by_others_or_by_steal() -> None:
    with Disturbance() as watch:
        sum(range(100_000))
    assert 0.0 <= watch.share <= 1.0
    quiet, stolen, busy = Disturbance(), Disturbance(), Disturbance()
    quiet.others, stolen.steal, busy.others = 0.04, 0.02, 0.5
    assert [each.disturbed for each in (quiet, stolen, busy)] == [False, True, True]
    assert worst([quiet, busy, stolen]) is busy
    assert worst([quiet, stolen]).remark == "disturbed: others used 2% of the CPU"
    assert quiet.remark == worst([]).remark == ""
