"""Pictures in tiles through the real engines of the CPU, beside what each tile says alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.decision import find_regions
from engines.bundle import Bundle
from engines.engine import Engine
from engines.errors import EngineError
from engines.images import list_images, read_image
from engines.preprocess import Preprocessing
from engines.registry import CPU_BACKENDS, open_engine
from engines.tiling import Tiling

SPECKS = [(384, 192), (64, 432), (217, 240), (512, 96)]


@pytest.fixture(scope="module", params=sorted(CPU_BACKENDS))
def engine(request: pytest.FixtureRequest, tiled_bundle: Bundle) -> Iterator[Engine]:
    pytest.importorskip(f"engines.backends.{request.param}")
    with open_engine(tiled_bundle, request.param, "f32") as opened:
        yield opened


@pytest.fixture(scope="module")
def single(tiled_bundle: Bundle) -> Iterator[Engine]:
    """The same network without tiles, in the reference engine."""
    plain = msgspec.structs.replace(tiled_bundle.info.preprocessing, tiles=None)
    whole = replace(tiled_bundle, info=msgspec.structs.replace(tiled_bundle.info, preprocessing=plain))
    with open_engine(whole, "onnxruntime", "f32") as opened:
        yield opened


def test_a_picture_says_what_its_tiles_say_one_by_one(
    engine: Engine, single: Engine, tiled_bundle: Bundle, render_plate: Callable[..., NDArray[np.uint8]]
) -> None:
    preprocessing = tiled_bundle.info.preprocessing
    pictures = np.stack([preprocessing(render_plate(300, SPECKS[0])), preprocessing(render_plate(301))])
    found = engine.infer(pictures)
    assert found.maps.shape == (2, *preprocessing.input_shape)
    side, step = 64, 64 - 6
    for number, picture in enumerate(pictures):
        corners = [(row * step, column * step) for row in range(3) for column in range(4)]
        alone = [single.infer(picture[None, y : y + side, x : x + side]) for y, x in corners]
        expected = np.full(picture.shape[:2], -np.inf, np.float32)
        for (y, x), tile in zip(corners, alone, strict=True):
            part = expected[y : y + side, x : x + side]
            part[:] = np.maximum(part, tile.maps[0])
        np.testing.assert_allclose(found.maps[number], expected, atol=1e-4)
        np.testing.assert_allclose(found.scores[number], max(tile.scores[0] for tile in alone), atol=1e-4)
        mean = np.mean([tile.embeddings[0] for tile in alone], axis=0)
        np.testing.assert_allclose(found.embeddings[number], mean, atol=1e-4)


def test_a_small_defect_that_the_whole_picture_loses_is_found_where_it_is(
    engine: Engine,
    make_bundle: Callable[..., Bundle],
    tiled_bundle: Bundle,
    plate_photos: Path,
    tmp_path: Path,
    render_plate: Callable[..., NDArray[np.uint8]],
) -> None:
    """Both networks see 64x64 pixels at once; each is held to the largest score of the same 20 good plates."""
    whole = Preprocessing(field="full", resize=64)
    plain = make_bundle(tmp_path / "whole", "random", list_images(plate_photos / "train" / "good"), whole)
    plates = [read_image(path) for path in list_images(plate_photos / "test" / "good")]
    with open_engine(plain, engine.description.backend, "f32") as other:
        contenders = {whole: other, tiled_bundle.info.preprocessing: engine}
        rejected = {}
        for preprocessing, one in contenders.items():
            good = [one.infer(preprocessing(plate)[None]) for plate in plates]
            limit = max(float(inspection.scores[0]) for inspection in good)
            map_limit = max(float(inspection.maps.max()) for inspection in good)
            rejected[preprocessing] = 0
            for number, (x, y) in enumerate(SPECKS):
                found = one.infer(preprocessing(render_plate(300 + number, (x, y)))[None])
                rejected[preprocessing] += int(found.scores[0] > limit)
                if preprocessing.tiles:
                    (region,) = find_regions(found.maps[0], map_limit, preprocessing, plates[0].shape)
                    assert region.x <= x < region.x + region.width
                    assert region.y <= y < region.y + region.height
                    # A patch is 8 pixels of the picture, and those are 2.7 of the plate.
                    assert np.hypot(region.peak_x - x, region.peak_y - y) < 2 * 8 * 2.7
    assert rejected == {whole: 0, tiled_bundle.info.preprocessing: len(SPECKS)}


def test_pictures_side_by_side_get_their_own_results(tiled_bundle: Bundle, plate_photos: Path) -> None:
    preprocessing = tiled_bundle.info.preprocessing
    paths = list_images(plate_photos / "test" / "good")
    pictures = [preprocessing(read_image(path)) for path in paths[:3]]
    for backend in sorted(CPU_BACKENDS):
        with open_engine(tiled_bundle, backend, "f32", in_flight=2) as engine:
            engine.warmup(rounds=1)
            pending = [engine.submit(picture[None]) for picture in pictures]
            found = [one.result() for one in pending]
            again = [engine.infer(picture[None]) for picture in pictures]
        for one, other in zip(found, again, strict=True):
            np.testing.assert_array_equal(one.maps, other.maps)


def test_wrong_pictures_are_refused(engine: Engine) -> None:
    assert engine.input_shape == (180, 238)
    with pytest.raises(EngineError, match=r"expected frames as uint8 of shape \(N, 180, 238, 3\) .*64, 64, 3"):
        engine.infer(np.zeros((1, 64, 64, 3), np.uint8))


def test_no_engine_takes_frames_to_cut_them_itself(engine: Engine) -> None:
    assert not engine.takes(Preprocessing(field="full", resize=64, tiles=Tiling(3, 4)))
    assert not engine.takes(Preprocessing(field="full", resize=64))
