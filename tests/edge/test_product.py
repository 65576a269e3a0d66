from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.cameras.tables import FolderCamera
from edge.config import EngineTable, RecipeTable, StationConfig
from edge.product import Recipe, Shelf, choose_calibration, open_recipes
from edge.trust import TrustTable
from engines.bundle import Bundle
from engines.errors import BundleError, CalibrationError
from engines.signature import KeyFileError, make_keys, sign_bundle


def test_cameras_with_the_same_bundle_share_one_engine(recipe: Recipe) -> None:
    other = Recipe("other", recipe.bundle, recipe.calibration)
    with Shelf(EngineTable(in_flight=1)) as shelf:
        first, again, second = shelf.take(recipe), shelf.take(recipe), shelf.take(other)
        assert first.engine is again.engine is second.engine
        assert second.recipe.name == "other"


def test_recipes_of_one_bundle_open_it_once(calibrated_bundle: Bundle) -> None:
    opened = open_recipes(_station(calibrated_bundle.path, "a", "b", "c"), ["b", "a", "b"])
    assert list(opened) == ["b", "a"]
    assert opened["a"].bundle is opened["b"].bundle


def test_a_station_with_keys_opens_only_what_one_of_them_signed(
    tmp_path: Path, calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]
) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[sign]'")
    bundle = bundle_copy(calibrated_bundle)
    own, foreign = (make_keys(tmp_path / f"{name}.key")[0] for name in ("own", "foreign"))
    station = _station(bundle.path, "a", keys=(own,))
    with pytest.raises(BundleError, match="is not signed"):
        open_recipes(station, ["a"])
    sign_bundle(bundle, tmp_path / "own.key")
    assert open_recipes(station, ["a"])["a"].bundle.digest == bundle.digest
    with pytest.raises(BundleError, match="is signed with the key"):
        open_recipes(_station(bundle.path, "a", keys=(foreign,)), ["a"])
    with pytest.raises(KeyFileError, match="cannot be read"):
        open_recipes(_station(bundle.path, "a", keys=(tmp_path / "nowhere.pub",)), ["a"])


def _station(bundle: Path, *names: str, keys: tuple[Path, ...] = ()) -> StationConfig:
    recipes = {name: RecipeTable(bundle=bundle) for name in names}
    cameras = {"top": FolderCamera(path=Path("incoming"))}
    return StationConfig(station="s", recipes=recipes, cameras=cameras, trust=TrustTable(keys=keys))


@pytest.mark.parametrize(
    ("backend", "precision", "index"),
    [
        ("auto", "auto", 2),
        ("openvino", "auto", 1),
        ("onnxruntime", "auto", 2),
        ("openvino", "f32", 0),
        ("auto", "f32", 2),
        ("auto", "bf16", 1),
    ],
)
def test_auto_means_the_latest_calibration_that_fits(
    calibrated_bundle: Bundle, backend: str, precision: str, index: int
) -> None:
    bundle = _with_calibrations(calibrated_bundle)
    table = msgspec.convert({"backend": backend, "precision": precision}, EngineTable)
    assert choose_calibration(bundle, table) == bundle.info.calibrations[index]


def test_what_was_never_calibrated_is_refused(calibrated_bundle: Bundle) -> None:
    with pytest.raises(CalibrationError, match="not for onnxruntime bf16"):
        choose_calibration(_with_calibrations(calibrated_bundle), EngineTable(backend="onnxruntime", precision="bf16"))


def _with_calibrations(bundle: Bundle) -> Bundle:
    names = (("openvino", "f32"), ("openvino", "bf16"), ("onnxruntime", "f32"))
    one = bundle.latest_calibration
    calibrations = tuple(msgspec.structs.replace(one, backend=b, precision=p) for b, p in names)
    return Bundle(bundle.path, msgspec.structs.replace(bundle.info, calibrations=calibrations), bundle.digest, {})
