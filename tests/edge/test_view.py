from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras.tables import FolderCamera
from edge.product import Product, Recipe, Shelf
from edge.verdict import Evaluation
from edge.view import View
from engines.bundle import Bundle
from engines.errors import ConfigError, DataError

SHAPE = (160, 160, 3)


def view(**options: object) -> View:
    return View.of(FolderCamera(path=Path(), **options))  # type: ignore[arg-type]


def decide(product: Product, image: np.ndarray):
    found = product.engine.infer(product.judge.preprocessing(image)[None])
    return product.judge.decide(float(found.scores[0]), found.maps[0], image.shape)


def test_a_camera_without_a_view_of_its_own_leaves_the_product_as_it_is(product: Product) -> None:
    assert view().product(product) == product


def test_a_region_takes_the_place_of_the_bundles_and_regions_stay_in_the_cameras_pixels(
    product: Product, render_part
) -> None:
    """The part lies in a larger picture; the region cuts it out again."""
    image = np.zeros((300, 400, 3), np.uint8)
    image[100:260, 200:360] = render_part(203, True)
    inside = view(roi=(200, 100, 160, 160)).product(product)
    found, alone = decide(inside, image), decide(product, render_part(203, True))
    assert found.score == alone.score
    assert [(r.x - 200, r.y - 100) for r in found.regions] == [(r.x, r.y) for r in alone.regions]
    assert inside.engine is product.engine


@pytest.mark.parametrize("drawn", ["polygon", "picture"])
def test_a_defect_in_an_ignored_area_is_no_defect_and_one_outside_still_is(
    product: Product, render_part, tmp_path: Path, drawn: str
) -> None:
    scratched = render_part(203, True)
    peak = decide(product, scratched).regions[0]
    left, top, right, bottom = peak.x - 30, peak.y - 30, peak.x + peak.width + 30, peak.y + peak.height + 30
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    if drawn == "polygon":
        options: dict[str, object] = {"ignore": (corners,)}
    else:
        mask = np.zeros(SHAPE[:2], np.uint8)
        mask[max(top, 0) : bottom, max(left, 0) : right] = 255
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        options = {"ignore_mask": tmp_path / "mask.png"}
    blind = view(**options).product(product)
    elsewhere = view(ignore=(((0, 0), (3, 0), (3, 3), (0, 3)),)).product(product)
    limit = product.judge.map_threshold
    assert decide(blind, scratched).score < decide(elsewhere, scratched).score
    assert decide(elsewhere, scratched).evaluation is Evaluation.NOT_OK
    assert decide(elsewhere, scratched).threshold == limit
    hidden = decide(blind, scratched)
    assert (hidden.evaluation is Evaluation.OK) == (hidden.score <= limit)
    assert not any(left < r.peak_x < right and top < r.peak_y < bottom for r in hidden.regions)


def test_a_mask_that_leaves_nothing_or_has_another_size_makes_every_part_undecidable(
    product: Product, tmp_path: Path
) -> None:
    everything = view(ignore=(((-1, -1), (200, -1), (200, 200), (-1, 200)),)).product(product).judge
    with pytest.raises(DataError, match="leave nothing of the picture to look at"):
        everything.decide(0.0, np.zeros((128, 128), np.float32), SHAPE)
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((10, 20), np.uint8))
    other = view(ignore_mask=tmp_path / "mask.png").product(product).judge
    with pytest.raises(DataError, match="expected `ignore_mask` of 160x160, found 20x10 pixels"):
        other.decide(0.0, np.zeros((128, 128), np.float32), SHAPE)


def test_grades_and_review_belong_to_the_score(product: Product) -> None:
    graded = dataclasses.replace(product, judge=dataclasses.replace(product.judge, review_above=0.0))
    judge = view(ignore=(((0, 0), (3, 0), (3, 3)),)).product(graded).judge
    assert (judge.scale, judge.review_above) == (None, None)


def test_a_mask_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ignore_mask: .*nowhere"):
        view(ignore_mask=tmp_path / "nowhere.png")


def test_an_ignored_area_hides_a_speck_from_every_tile_that_sees_it(
    shelf: Shelf, tiled_bundle: Bundle, render_plate
) -> None:
    """At 311, 192 two tiles overlap."""
    product = shelf.take(Recipe("plate", tiled_bundle, tiled_bundle.latest_calibration))
    plate = render_plate(401, (311, 192))
    here = ((151, 32), (471, 32), (471, 352), (151, 352))
    elsewhere = ((0, 352), (640, 352), (640, 480), (0, 480))
    assert decide(view(ignore=(elsewhere,)).product(product), plate).evaluation is Evaluation.NOT_OK
    hidden = decide(view(ignore=(here,)).product(product), plate)
    assert hidden.evaluation is Evaluation.OK
    assert hidden.regions == ()
