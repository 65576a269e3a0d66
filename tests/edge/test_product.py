from __future__ import annotations

import msgspec
import pytest

from edge.config import EngineTable, RecipeTable
from edge.product import Recipe, Shelf, choose_calibration, open_recipes
from engines.bundle import Bundle
from engines.errors import CalibrationError


def test_cameras_with_the_same_bundle_share_one_engine(recipe: Recipe) -> None:
    other = Recipe("other", recipe.bundle, recipe.calibration)
    with Shelf(EngineTable(in_flight=1)) as shelf:
        first, again, second = shelf.take(recipe), shelf.take(recipe), shelf.take(other)
        assert first.engine is again.engine is second.engine
        assert second.recipe.name == "other"


def test_recipes_of_one_bundle_open_it_once(calibrated_bundle: Bundle) -> None:
    tables = {name: RecipeTable(bundle=calibrated_bundle.path) for name in ("a", "b", "c")}
    opened = open_recipes(tables, ["b", "a", "b"], EngineTable())
    assert list(opened) == ["b", "a"]
    assert opened["a"].bundle is opened["b"].bundle


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
