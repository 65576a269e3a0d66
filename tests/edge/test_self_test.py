"""The self-test: due when it should be, and an engine that has drifted leaves its cameras disarmed, with the reason."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import msgspec
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from edge.asker import Asker
from edge.cameras.folder import Folder
from edge.cameras.tables import FolderCamera
from edge.config import ControlTable, PublishTable, RecipeTable, StationConfig
from edge.pipeline import Pipeline
from edge.product import Product, Recipe, Shelf
from edge.requests import Refused, SelfTestReply, SelfTestRequest
from edge.self_test import Schedule, replay_golden
from edge.trust import TrustTable
from edge.verdict import Evaluation, State
from engines.bundle import Bundle, update_bundle
from engines.engine import Engine, Pending
from engines.errors import ConfigError, EngineError
from engines.registry import open_engine
from tests.edge.conftest import Listener

MORNING = datetime(2026, 3, 2, 5, 59, 59)
SHIFTS = TrustTable(self_test_at=("06:00", "14:00", "22:00"))


class Drifting(Engine):
    """A real engine that other real engine takes the place of at `swap`, as after a bit flip in its weights."""

    def __init__(self, first: Engine, second: Engine) -> None:
        self._engine, self._second = first, second
        self.description, self.input_size, self.in_flight = first.description, first.input_size, first.in_flight

    def swap(self) -> None:
        self._engine = self._second

    def submit(self, frames) -> Pending:
        return self._engine.submit(frames)

    def close(self) -> None:
        pass


def nudged(bundle: Bundle) -> Bundle:
    """The bundle with one single weight of its network, the head's first, five times as large."""
    model = onnx.load_from_string(bundle.read_network())
    tensor = next(item for item in model.graph.initializer if item.name == "head.patches.weight")
    weights = numpy_helper.to_array(tensor).copy()
    weights.flat[0] *= 5
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    return update_bundle(bundle, bundle.info, networks={"f32": model.SerializeToString()})


@pytest.fixture
def drifted(product: Product, bundle_copy: Callable[[Bundle], Bundle]) -> Iterator[Engine]:
    """The calibrated engine, but for one nudged weight."""
    about = product.engine.description
    with open_engine(nudged(bundle_copy(product.recipe.bundle)), about.backend, about.precision) as engine:
        yield engine


@pytest.fixture
def station(
    tmp_path: Path, endpoint: str, recipe: Recipe, render_part, listener: Listener
) -> Iterator[Callable[[Product], Pipeline]]:
    """`station(product)`: armed, two cameras on folders `top` and `side`, with a control socket."""
    made: list[Pipeline] = []

    def start(product: Product) -> Pipeline:
        cameras = {}
        for name in ("top", "side"):
            (tmp_path / name).mkdir()
            cv2.imwrite(str(tmp_path / name / "1.png"), render_part(100))
            cameras[name] = FolderCamera(path=tmp_path / name, settle_s=0.05)
        config = StationConfig(
            station="cell-7",
            recipes={recipe.name: RecipeTable(bundle=recipe.bundle.path)},
            cameras=cameras,
            publish=PublishTable(bind=endpoint, heartbeat_s=0.1),
            control=ControlTable(bind=f"ipc://{tmp_path}/control"),
        )
        sources = {name: Folder(table.path, settle_s=0.05) for name, table in cameras.items()}
        pipeline = Pipeline(config, sources, dict.fromkeys(cameras, recipe))
        pipeline.announce()
        made.append(pipeline)
        while not pipeline.has_subscriber:
            time.sleep(0.01)
        pipeline.arm(dict.fromkeys(cameras, product))
        return pipeline

    yield start
    for pipeline in made:
        pipeline.drain()


def ask(tmp_path: Path):
    with Asker(f"ipc://{tmp_path}/control") as asker:
        return asker.ask(SelfTestRequest(), 60)


def test_an_engine_that_is_as_it_was_passes_and_goes_on(station, product: Product, tmp_path: Path) -> None:
    pipeline = station(product)
    reply = ask(tmp_path)
    assert isinstance(reply, SelfTestReply)
    assert reply.passed
    assert reply.recipes["flange"].worst_drift == 0.0
    assert not pipeline.disarmed
    assert not pipeline.finished


def test_an_engine_that_drifts_disarms_its_cameras_and_says_why(
    station, product: Product, drifted: Engine, tmp_path: Path, listener: Listener, render_part
) -> None:
    engine = Drifting(product.engine, drifted)
    pipeline = station(dataclasses.replace(product, engine=engine))
    listener.until(lambda heard: len(heard.verdicts) == 2)
    engine.swap()
    reply = ask(tmp_path)
    assert isinstance(reply, SelfTestReply)
    assert not reply.passed
    assert reply.recipes["flange"].worst_drift > reply.recipes["flange"].tolerance
    assert "has drifted by" in reply.recipes["flange"].reason
    heard = listener.until(lambda heard: heard.heartbeats[-1].state is State.DISARMED)
    assert "camera top: the self-test failed: golden part" in heard.heartbeats[-1].reason
    cv2.imwrite(str(tmp_path / "top" / "2.png"), render_part(101))
    for _ in range(20):
        pipeline.supervise()
        time.sleep(0.01)
    assert pipeline.disarmed
    assert not pipeline.finished  # it stays, and says why, until somebody starts it again
    again = ask(tmp_path)
    assert isinstance(again, Refused)
    assert not [v for v in listener.heard.verdicts if v.part_id == "2.png" and v.evaluation is Evaluation.OK]


def test_another_precision_does_not_pass(product: Product) -> None:
    about = product.engine.description
    other = "bf16" if about.precision == "f32" else "f32"
    with open_engine(product.recipe.bundle, about.backend, other) as engine:
        result = replay_golden(dataclasses.replace(product, engine=engine))
        assert not result.passed
        assert f"the engine is {about.backend} {other}" in result.reason
        if other == "f32":
            return
        engine.description = about  # what says it is the right one must still give the right scores
        assert "has drifted" in replay_golden(dataclasses.replace(product, engine=engine)).reason


def test_an_older_bundles_engine_does_not_pass(
    product: Product, make_bundle: Callable[..., Bundle], part_photos: Path, tmp_path: Path
) -> None:
    photos = sorted((part_photos / "train" / "good").iterdir())[:12]
    older = make_bundle(tmp_path / "older", "random", photos, product.recipe.bundle.info.preprocessing)
    about = product.engine.description
    with open_engine(older, about.backend, about.precision) as engine:
        result = replay_golden(dataclasses.replace(product, engine=engine))
    assert not result.passed
    assert "calibrate it again" in result.reason


def test_a_daemon_is_asked_on_the_command_line(
    start_daemon: Callable[..., object], listener: Listener, tmp_path: Path, cli: tuple[str, ...]
) -> None:
    (tmp_path / "inbox").mkdir()
    address = f"ipc://{tmp_path}/control"
    start_daemon(f'kind = "folder"\npath = "{tmp_path}/inbox"', f'[control]\nbind = "{address}"')
    listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].state is State.RUNNING)
    asked = subprocess.run([*cli, "control", "--connect", address, "self-test"], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith("flange: passed, 8 golden parts within ")


def test_an_engine_that_fails_has_not_passed(product: Product) -> None:
    class Broken(Drifting):
        def submit(self, frames) -> Pending:
            raise EngineError("device lost")

    result = replay_golden(dataclasses.replace(product, engine=Broken(product.engine, product.engine)))
    assert not result.passed
    assert "device lost" in result.reason


def test_times_of_the_day_are_met_once_each() -> None:
    schedule = Schedule(SHIFTS, MORNING, 0.0)
    due = [
        moment for step in range(2 * 24 * 60) if schedule.due(moment := MORNING + timedelta(minutes=step), 60.0 * step)
    ]
    assert [moment.hour for moment in due] == [6, 14, 22, 6, 14, 22]


def test_hours_count_by_the_monotonic_clock() -> None:
    schedule = Schedule(TrustTable(self_test_hours=2), MORNING, 0.0)
    assert not schedule.due(MORNING + timedelta(days=300), 7_199.0)
    assert schedule.due(MORNING, 7_200.0)
    assert not schedule.due(MORNING, 14_399.0)
    assert schedule.due(MORNING, 14_400.0)


@given(jumps=st.lists(st.integers(-3 * 86_400, 3 * 86_400), max_size=8))
def test_however_the_clock_jumps_no_time_is_missed_afterwards(jumps: list[int]) -> None:
    schedule, now = Schedule(SHIFTS, MORNING, 0.0), MORNING
    for jump in jumps:
        now += timedelta(seconds=jump)
        schedule.due(now, 0.0)
    hours = [h for h in range(24) if schedule.due(now + timedelta(hours=h + 1), 0.0)]
    assert len(hours) == 3


def test_without_settings_nothing_is_due() -> None:
    schedule = Schedule(TrustTable(), MORNING, 0.0)
    assert not schedule.due(MORNING + timedelta(days=2), 1e9)


@pytest.mark.parametrize("time_", ["24:00", "6:00", "06:60", "noon"])
def test_what_is_no_time_of_the_day_is_refused(time_: str) -> None:
    with pytest.raises((msgspec.ValidationError, ConfigError)):
        msgspec.convert({"self_test_at": [time_]}, TrustTable)


def test_pictures_in_tiles_are_replayed_and_drift_in_them_is_seen(
    shelf: Shelf, tiled_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]
) -> None:
    """`take` lets only an engine through that passed the parity gate."""
    product = shelf.take(Recipe("plate", tiled_bundle, tiled_bundle.latest_calibration))
    assert product.golden.shape == (8, *tiled_bundle.info.preprocessing.input_shape, 3)
    passed = replay_golden(product)
    assert passed.passed
    assert passed.worst_drift == 0
    about = product.engine.description
    with open_engine(nudged(bundle_copy(tiled_bundle)), about.backend, about.precision) as engine:
        result = replay_golden(dataclasses.replace(product, engine=engine))
    assert not result.passed
    assert "has drifted by" in result.reason
