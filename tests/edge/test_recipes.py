"""Another product at run time, with real bundles and engines."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import msgspec
import pytest

from edge.cameras.tables import FolderCamera
from edge.config import EngineTable, RecipeTable, StationConfig
from edge.product import Product, Shelf
from edge.recipes import RecipeChanger, RecipeError
from edge.requests import Done, RecipeRequest
from engines.bundle import Bundle, update_bundle
from engines.engine import Engine

PATIENCE_S = 60.0


class Judging:
    """A camera that takes up a product when it is told to."""

    disarmed = False

    def __init__(self, product: Product, willing: bool = True) -> None:
        self.product = product
        self._willing = willing

    def switch(self, product: Product) -> None:
        if self._willing:
            self.product = product


@dataclasses.dataclass
class Station:
    cameras: dict[str, Judging]
    changer: RecipeChanger
    shelf: Shelf

    def change(self, **wish: object) -> str:
        reply = self.changer.change(msgspec.convert(wish, RecipeRequest)).result(PATIENCE_S)
        assert isinstance(reply, Done)
        return reply.message

    @property
    def names(self) -> list[str]:
        return [camera.product.recipe.name for camera in self.cameras.values()]


@pytest.fixture
def drifted(calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Bundle:
    """A bundle whose engine computes something else than what was calibrated."""
    bundle = bundle_copy(calibrated_bundle)
    calibration = bundle.latest_calibration
    golden = tuple(msgspec.structs.replace(part, score=part.score + 1.0) for part in calibration.golden)
    changed = msgspec.structs.replace(calibration, golden=golden)
    update_bundle(bundle, msgspec.structs.replace(bundle.info, calibrations=(changed,)))
    return bundle


@pytest.fixture
def other(tmp_path: Path, calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Bundle:
    """Another good bundle: the same network, for a product of another name."""
    bundle = bundle_copy(calibrated_bundle)
    return update_bundle(bundle, msgspec.structs.replace(bundle.info, product="plate"))


@pytest.fixture
def start(recipe) -> Iterator[Callable[..., Station]]:
    """`start(bundle)`: cameras top and side judged by `flange`; recipe `plate` has that bundle and job 7."""
    stations: list[Station] = []

    def begin(bundle: Path, willing: bool = True) -> Station:
        config = StationConfig(
            station="cell-7",
            recipes={
                "flange": RecipeTable(bundle=recipe.bundle.path, job=1),
                "plate": RecipeTable(bundle=bundle, job=7),
            },
            cameras={name: FolderCamera(path=Path(), recipe="flange") for name in ("top", "side")},
        )
        shelf = Shelf(EngineTable(in_flight=1))
        product = shelf.take(recipe)
        cameras = {name: Judging(product, willing or name == "top") for name in config.cameras}
        stations.append(Station(cameras, RecipeChanger(lambda: config, shelf, lambda: cameras), shelf))
        return stations[-1]

    yield begin
    for station in stations:
        with station.shelf, station.changer:
            pass


def test_a_recipe_is_changed_for_one_camera_or_for_all_by_name_or_by_job(start, other: Bundle) -> None:
    station = start(other.path)
    assert station.change(camera="side", recipe="plate") == "recipe plate judges camera side"
    assert station.names == ["flange", "plate"]
    assert station.change(job=7) == "recipe plate judges camera top, side"
    assert station.names == ["plate", "plate"]
    assert station.change(job=7) == "recipe plate judges camera top, side already"
    assert station.change(job=1) == "recipe flange judges camera top, side"
    assert station.names == ["flange", "flange"]


def test_a_bundle_that_was_replaced_is_changed_to_under_the_same_name(start, other: Bundle) -> None:
    station = start(other.path)
    station.change(recipe="plate")
    moved = msgspec.structs.replace(other.latest_calibration, threshold=9.0)
    update_bundle(other, msgspec.structs.replace(other.info, calibrations=(moved,)))
    assert station.change(recipe="plate", camera="top") == "recipe plate judges camera top"
    thresholds = [camera.product.judge.threshold for camera in station.cameras.values()]
    assert thresholds == [9.0, other.latest_calibration.threshold]
    assert station.change(recipe="plate", camera="top").endswith("already")


def test_an_engine_that_judges_nothing_any_more_is_closed(start, other: Bundle, monkeypatch) -> None:
    station = start(other.path)
    closed: list[Engine] = []
    old = station.cameras["top"].product.engine
    monkeypatch.setattr(type(old), "close", lambda self: closed.append(self))
    station.change(camera="side", recipe="plate")
    assert closed == []
    station.change(camera="top", recipe="plate")
    assert closed == [old]


def test_a_recipe_that_the_gate_refuses_changes_nothing_and_says_so(start, drifted: Bundle) -> None:
    station = start(drifted.path)
    with pytest.raises(
        RecipeError, match=r"the parity gate keeps .*; unchanged goes on top with flange, side with fla"
    ):
        station.change(recipe="plate")
    assert station.names == ["flange", "flange"]
    assert station.change(recipe="flange").endswith("already")


def test_a_camera_that_does_not_take_it_up_has_all_of_them_go_back(start, other: Bundle, monkeypatch) -> None:
    monkeypatch.setattr("edge.recipes._TAKE_OVER_S", 0.05)
    station = start(other.path, willing=False)
    with pytest.raises(RecipeError, match="not every camera took it up"):
        station.change(recipe="plate")
    assert station.names == ["flange", "flange"]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({}, "expected either `recipe` or `job`"),
        ({"recipe": "plate", "job": 7}, "expected either `recipe` or `job`"),
        ({"recipe": "gear"}, "there is no recipe 'gear'; choose from flange, plate"),
        ({"job": 3}, "no recipe has job 3; there are 1, 7"),
        ({"job": 7, "camera": "rear"}, "there is no camera 'rear'; choose from top, side"),
        ({"job": 7}, "which cannot be read|expected a bundle at"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused(start, wish: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        start(Path("/nowhere/at/all")).change(**wish)


def test_a_real_daemon_changes_between_two_parts_and_every_verdict_names_its_recipe(
    start_daemon, listener, cli, tmp_path: Path, render_part, other: Bundle
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    address = f"ipc://{tmp_path}/control"
    more = f'[recipes.plate]\nbundle = "{other.path}"\njob = 7\n[control]\nbind = "{address}"'
    camera = f'recipe = "flange"\nkind = "folder"\npath = "{inbox}"\nsettle_s = 0.1'
    daemon = start_daemon(camera, more)
    cv2.imwrite(str(inbox / "1.png"), render_part(100))
    listener.until(lambda heard: len(heard.verdicts) == 1)
    command = [*cli, "control", "--connect", address, "recipe", "--job", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "recipe plate judges camera top\n")
    cv2.imwrite(str(inbox / "2.png"), render_part(101))
    heard = listener.until(lambda heard: len(heard.verdicts) == 2)
    assert [v.recipe for v in heard.verdicts] == ["flange", "plate"]
    assert heard.verdicts[1].bundle_digest == other.digest != heard.verdicts[0].bundle_digest
    heard = listener.until(lambda heard: heard.heartbeats[-1].cameras["top"].recipe == "plate")
    assert set(heard.states) <= {"Starting", "Running"}
    done = subprocess.run([*command[:-2], "gear"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "refused: there is no recipe 'gear'; choose from flange, plate\n")
    assert daemon.end() == 0
