"""Which way a camera frame goes into an engine: preprocessed by us, or as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras.camera import Shutter
from edge.inspector import Stopwatch, submit
from engines.bundle import Bundle
from engines.engine import Engine, Pending
from engines.errors import EngineError
from engines.preprocess import Preprocessing
from engines.registry import open_engine


class Preprocesses(Engine):
    """A real engine that takes camera frames as they are, and keeps what it was given."""

    def __init__(self, inner: Engine) -> None:
        self.description, self.input_size, self.in_flight = inner.description, inner.input_size, inner.in_flight
        self.given: list[NDArray[np.uint8]] = []
        self._inner = inner

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        raise AssertionError("the frame was preprocessed before")

    def takes(self, preprocessing: Preprocessing) -> bool:
        return preprocessing.input_size == self.input_size

    def submit_frame(self, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> Pending:
        self.given.append(frame)
        return self._inner.submit(preprocessing(frame)[None])

    def close(self) -> None:
        self._inner.close()


def watch_of(image: NDArray[np.uint8]) -> Stopwatch:
    shutter = Shutter()
    shutter.press()
    return Stopwatch(shutter.frame(image, "part", ""))


def test_both_ways_give_the_same(uncalibrated_bundle: Bundle, render_part) -> None:
    preprocessing, image = uncalibrated_bundle.info.preprocessing, render_part(7)
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32") as engine:
        ours = watch_of(image)
        pending, square = submit(engine, preprocessing, image, ours)
        expected = pending.result()
        assert "preprocess" in ours.stages
        itself = Preprocesses(engine)
        theirs = watch_of(image)
        pending, none = submit(itself, preprocessing, image, theirs)
        found = pending.result()
        assert square is not None
        assert none is None
        theirs.end()
    assert itself.given[0] is image
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert "preprocess" not in theirs.stages
    assert theirs.stages["infer"] > 0


def test_a_preprocessing_that_the_engine_does_not_do_is_ours(uncalibrated_bundle: Bundle, render_part) -> None:
    other = Preprocessing(field="full", resize=64)
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32") as engine:
        itself = Preprocesses(engine)
        with pytest.raises(AssertionError, match="preprocessed before"):
            submit(itself, other, render_part(7), watch_of(render_part(7)))


def test_an_engine_of_the_cpu_refuses_camera_frames(uncalibrated_bundle: Bundle, render_part) -> None:
    preprocessing = uncalibrated_bundle.info.preprocessing
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32") as engine:
        assert not engine.takes(preprocessing)
        with pytest.raises(EngineError, match="onnxruntime does not preprocess camera frames"):
            engine.submit_frame(render_part(7), preprocessing)
