from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from edge.cameras.camera import Camera, Frame
from edge.cameras.folder import Folder
from edge.cameras.tables import FolderCamera
from edge.config import PipelineTable, PublishTable, RecipeTable, StationConfig
from edge.pipeline import Pipeline
from edge.product import Product, Recipe
from edge.verdict import Evaluation, State
from edge.worker import WorkerError
from engines.engine import Engine, Inspection, Pending


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
def inbox(tmp_path: Path, render_part) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), render_part(100))
    return folder


@pytest.fixture
def make_pipeline(endpoint: str, recipe: Recipe, inbox: Path) -> Callable[..., Pipeline]:
    """`make_pipeline(camera, ...)`: announced already; one restart of a worker is allowed in each lane.

    The cameras are called top, side and rear.
    """

    def make(*sources: Camera) -> Pipeline:
        cameras = dict(zip(("top", "side", "rear"), sources, strict=False))
        config = StationConfig(
            station="cell-7",
            recipes={recipe.name: RecipeTable(bundle=recipe.bundle.path)},
            cameras={name: FolderCamera(path=inbox, settle_s=0.05) for name in cameras},
            publish=PublishTable(bind=endpoint, heartbeat_s=0.1),
            pipeline=PipelineTable(restarts=1, drain_s=1.0),
        )
        pipeline = Pipeline(config, cameras, dict.fromkeys(cameras, recipe))
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
    make_pipeline, product: Product, listener, inbox: Path, render_part
) -> None:
    camera = FaultyDriver(inbox, settle_s=0.05)
    camera.faults = 1
    pipeline = make_pipeline(camera)
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm({"top": product})
    supervise_until(pipeline, lambda: pipeline.health.counters.restarts == {"top.capture": 1})
    cv2.imwrite(str(inbox / "2.png"), render_part(101))
    heard = listener.until(lambda heard: len(heard.verdicts) == 2)
    assert [v.part_id for v in heard.verdicts] == ["1.png", "2.png"]
    assert not pipeline.disarmed
    pipeline.drain()


def test_a_worker_that_fails_too_often_disarms_the_station_which_says_so(
    make_pipeline, product: Product, listener, inbox: Path
) -> None:
    camera = FaultyDriver(inbox, settle_s=0.05)
    camera.faults = 1000
    pipeline = make_pipeline(camera)
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm({"top": product})
    supervise_until(pipeline, lambda: pipeline.disarmed)
    heard = listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].state is State.DISARMED)
    assert "camera top: worker 'top.capture' failed (RuntimeError: segment lost)" in heard.heartbeats[-1].reason
    assert not pipeline.silenced
    assert not pipeline.finished
    pipeline.drain()
    last = listener.until(lambda heard: "Stopped" in heard.states).heartbeats[-1]
    assert (last.last_seq, last.counters.frames, last.counters.restarts) == (1, 1, {"top.capture": 1})


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


@pytest.mark.parametrize(("hanging", "worker"), [(LateSubmit, "top.feeder"), (LateResult, "top.collector")])
def test_an_engine_that_hangs_does_not_keep_the_last_heartbeat_back(
    make_pipeline, product: Product, listener, inbox: Path, hanging: type[Wrapped], worker: str
) -> None:

    pipeline = make_pipeline(Folder(inbox, settle_s=0.05))
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm({"top": dataclasses.replace(product, engine=hanging(product.engine))})
    supervise_until(pipeline, lambda: pipeline.health.counters.frames == 1)
    with pytest.raises(WorkerError, match=f"'{worker}' did not end within"):
        pipeline.drain()
    last = listener.until(lambda heard: "Stopped" in heard.states).heartbeats[-1]
    assert f"'{worker}' did not end" in last.reason


def test_an_engine_that_calls_for_the_exit_only_spoils_its_frame(
    make_pipeline, product: Product, listener, inbox: Path
) -> None:
    class Quitting(Wrapped):
        def submit(self, frames) -> Pending:
            raise SystemExit("licence expired")

    pipeline = make_pipeline(Folder(inbox, settle_s=0.05))
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm({"top": dataclasses.replace(product, engine=Quitting(product.engine))})
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


def test_cameras_are_told_apart_and_share_one_row_of_numbers(
    make_pipeline, product: Product, listener, inbox: Path, render_part
) -> None:
    pipeline = make_pipeline(*(Folder(inbox, settle_s=0.05) for _ in range(3)))
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm(dict.fromkeys(("top", "side", "rear"), product))
    cv2.imwrite(str(inbox / "2.png"), render_part(101))
    heard = listener.until(lambda heard: len(heard.verdicts) == 6)
    assert [v.seq for v in heard.verdicts] == list(range(1, 7))
    for camera in ("top", "side", "rear"):
        assert [v.part_id for v in heard.verdicts if v.camera == camera] == ["1.png", "2.png"]
    pipeline.drain()
    last = listener.until(lambda heard: "Stopped" in heard.states).heartbeats[-1]
    assert last.counters.frames == 6
    assert {name: status.counters.frames for name, status in last.cameras.items()} == {"top": 2, "side": 2, "rear": 2}


def test_a_camera_that_is_disarmed_costs_the_others_nothing(
    make_pipeline, product: Product, listener, inbox: Path, render_part
) -> None:
    broken = FaultyDriver(inbox, settle_s=0.05)
    broken.faults = 1000
    pipeline = make_pipeline(broken, Folder(inbox, settle_s=0.05))
    supervise_until(pipeline, lambda: pipeline.has_subscriber)
    pipeline.arm({"top": product, "side": product})
    supervise_until(pipeline, lambda: pipeline.disarmed)
    cv2.imwrite(str(inbox / "2.png"), render_part(101))
    heard = listener.until(
        lambda heard: [v.part_id for v in heard.verdicts if v.camera == "side"] == ["1.png", "2.png"]
    )
    heard = listener.until(lambda heard: heard.states[-1] == "Degraded")
    beat = heard.heartbeats[-1]
    assert "camera top: worker 'top.capture' failed" in beat.reason
    assert (beat.cameras["top"].state, beat.cameras["side"].state) == (State.DISARMED, State.RUNNING)
    pipeline.drain()
