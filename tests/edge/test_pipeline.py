from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from edge.cameras.camera import Camera, Frame
from edge.cameras.folder import Folder
from edge.config import FolderCamera, PipelineTable, PublishTable, StationConfig
from edge.pipeline import Pipeline
from edge.verdict import Evaluation, State
from edge.worker import WorkerError
from engines.bundle import Bundle
from engines.engine import Engine, Inspection, Pending
from engines.registry import open_engine


class FaultyDriver(Folder):
    """A folder whose reading fails in a way that no camera announces, `faults` times after the first frame."""

    faults = 0

    def read(self, timeout_s: float) -> Frame | None:
        frame = super().read(timeout_s)
        if frame is None and self.faults:
            self.faults -= 1
            raise RuntimeError("segment lost")
        return frame


@pytest.fixture
def engine(calibrated_bundle: Bundle) -> Iterator[Engine]:
    calibration = calibrated_bundle.latest_calibration
    with open_engine(calibrated_bundle, calibration.backend, calibration.precision) as engine:
        yield engine


@pytest.fixture
def inbox(tmp_path: Path, render_part) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), render_part(100))
    return folder


@pytest.fixture
def make_pipeline(endpoint: str, calibrated_bundle: Bundle, inbox: Path) -> Callable[[Camera], Pipeline]:
    """`make_pipeline(camera)`: announced already; one restart of a worker is allowed."""

    def make(camera: Camera) -> Pipeline:
        config = StationConfig(
            station="cell-7",
            bundle=calibrated_bundle.path,
            camera=FolderCamera(path=inbox, settle_s=0.05),
            publish=PublishTable(bind=endpoint, heartbeat_s=0.1),
            pipeline=PipelineTable(restarts=1, drain_s=1.0),
        )
        pipeline = Pipeline(config, calibrated_bundle, calibrated_bundle.latest_calibration, camera)
        pipeline.announce()
        return pipeline

    return make


def supervise_until(pipeline: Pipeline, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen within 30 s")
        pipeline.supervise()
        time.sleep(0.01)


def test_a_worker_that_fails_once_is_started_again_and_repeats_nothing(
    make_pipeline, engine: Engine, listener, inbox: Path, render_part
) -> None:
    camera = FaultyDriver(inbox, settle_s=0.05)
    camera.faults = 1
    pipeline = make_pipeline(camera)
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm(engine)
    supervise_until(pipeline, lambda: pipeline.health.counters.restarts == {"capture": 1})
    cv2.imwrite(str(inbox / "2.png"), render_part(101))
    heard = listener.until(lambda heard: len(heard.verdicts) == 2)
    assert [v.part_id for v in heard.verdicts] == ["1.png", "2.png"]
    assert not pipeline.disarmed
    pipeline.drain()


def test_a_worker_that_fails_too_often_disarms_the_station_which_says_so(
    make_pipeline, engine: Engine, listener, inbox: Path
) -> None:
    camera = FaultyDriver(inbox, settle_s=0.05)
    camera.faults = 1000
    pipeline = make_pipeline(camera)
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm(engine)
    supervise_until(pipeline, lambda: pipeline.disarmed)
    heard = listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].state is State.DISARMED)
    assert "worker 'capture' failed (RuntimeError: segment lost)" in heard.heartbeats[-1].reason
    assert not pipeline.silenced
    assert not pipeline.finished
    pipeline.drain()
    last = listener.until(lambda heard: "Stopped" in heard.states).heartbeats[-1]
    assert (last.last_seq, last.counters.frames, last.counters.restarts) == (1, 1, {"capture": 1})


class Wrapped(Engine):
    """A real engine, with something amiss."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.description, self.input_size, self.in_flight = engine.description, engine.input_size, engine.in_flight

    def submit(self, frames) -> Pending:
        return self.engine.submit(frames)

    def close(self) -> None:
        pass


class Late(Pending):
    def __init__(self, pending: Pending) -> None:
        self.pending = pending

    def result(self) -> Inspection:
        time.sleep(3.0)
        return self.pending.result()


class LateResult(Wrapped):
    def submit(self, frames) -> Pending:
        return Late(self.engine.submit(frames))


class LateSubmit(Wrapped):
    def submit(self, frames) -> Pending:
        time.sleep(3.0)
        return self.engine.submit(frames)


@pytest.mark.parametrize(("hanging", "worker"), [(LateSubmit, "feeder"), (LateResult, "collector")])
def test_an_engine_that_hangs_does_not_keep_the_last_heartbeat_back(
    make_pipeline, engine: Engine, listener, inbox: Path, hanging: type[Wrapped], worker: str
) -> None:

    pipeline = make_pipeline(Folder(inbox, settle_s=0.05))
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm(hanging(engine))
    supervise_until(pipeline, lambda: pipeline.health.counters.frames == 1)
    with pytest.raises(WorkerError, match=f"'{worker}' did not end within"):
        pipeline.drain()
    last = listener.until(lambda heard: "Stopped" in heard.states).heartbeats[-1]
    assert f"'{worker}' did not end" in last.reason


def test_an_engine_that_calls_for_the_exit_only_spoils_its_frame(
    make_pipeline, engine: Engine, listener, inbox: Path
) -> None:
    class Quitting(Wrapped):
        def submit(self, frames) -> Pending:
            raise SystemExit("licence expired")

    pipeline = make_pipeline(Folder(inbox, settle_s=0.05))
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm(Quitting(engine))
    (verdict,) = listener.until(lambda heard: heard.verdicts).verdicts
    assert verdict.evaluation is Evaluation.NOT_DECIDABLE
    assert verdict.reason == "infer: licence expired"
    pipeline.drain()


def test_a_start_that_failed_says_why_in_its_last_heartbeat(make_pipeline, inbox: Path, listener) -> None:
    pipeline = make_pipeline(Folder(inbox))
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.abandon("the parity gate did not open")
    heard = listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].state is State.STOPPED)
    assert heard.heartbeats[-1].reason == "the parity gate did not open"
    assert "Running" not in heard.states
