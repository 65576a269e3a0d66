"""Parts go into an engine the way that the daemon's frames do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.parity import measure_parity
from calibration.parts import GoodParts
from calibration.scoring import Photographs, inspect_one, score_parts
from engines.bundle import Bundle
from engines.engine import Engine, Pending
from engines.images import list_images, read_image
from engines.preprocess import Preprocessing
from engines.registry import open_engine


class Preprocesses(Engine):
    """A real engine that takes camera frames as they are, and keeps what it was given."""

    def __init__(self, inner: Engine) -> None:
        self.description, self.input_size, self.in_flight = inner.description, inner.input_size, inner.in_flight
        self.given: list[tuple[int, ...]] = []
        self._inner = inner

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        raise AssertionError("the daemon's way is another one")

    def takes(self, preprocessing: Preprocessing) -> bool:
        return preprocessing.input_size == self.input_size

    def submit_frame(self, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> Pending:
        self.given.append(frame.shape)
        return self._inner.submit(preprocessing(frame)[None])

    def close(self) -> None:
        self._inner.close()


@pytest.fixture
def parts(part_photos: Path, uncalibrated_bundle: Bundle) -> GoodParts:
    return GoodParts(tuple(list_images(part_photos / "test" / "good")[:4]), uncalibrated_bundle.info.preprocessing)


def test_an_engine_that_preprocesses_gets_the_photographs(parts: GoodParts, uncalibrated_bundle: Bundle) -> None:
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32") as engine:
        itself = Preprocesses(engine)
        found, expected = score_parts(itself, parts), score_parts(engine, parts)
        (row,) = measure_parity(engine, [itself], parts, threshold=1.0)
    assert itself.given == [read_image(path).shape for path in parts.paths] * 2
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert row.max_score_error == 0


def test_preprocessed_frames_go_the_same_way_as_pictures_that_fit(
    parts: GoodParts, uncalibrated_bundle: Bundle
) -> None:
    frame = parts[0]
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32") as engine:
        itself = Preprocesses(engine)
        found, expected = inspect_one(itself, frame), inspect_one(engine, frame)
    assert itself.given == [frame.shape]
    np.testing.assert_array_equal(found.maps, expected.maps)


def test_a_list_of_frames_holds_no_photographs(parts: GoodParts) -> None:
    assert isinstance(parts, Photographs)
    assert not isinstance([parts[0]], Photographs)
