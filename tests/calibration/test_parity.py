from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.parity import measure_parity
from engines.bundle import Bundle
from engines.engine import Engine

Frames = NDArray[np.uint8]


@pytest.fixture
def reference(open_named: Any, uncalibrated_bundle: Bundle) -> Engine:
    return open_named(uncalibrated_bundle, "onnxruntime", "f32")


def test_the_reference_equals_itself(reference: Engine, good_frames: Frames) -> None:
    (row,) = measure_parity(reference, [reference], good_frames, threshold=1.2)
    scores = reference.infer(good_frames).scores
    assert (row.backend, row.precision, row.reference) == ("onnxruntime", "f32", "onnxruntime f32")
    assert (row.max_score_error, row.max_map_error, row.verdict_flips, row.images) == (0, 0, 0, 24)
    assert row.score_spread == pytest.approx(scores.std(), rel=1e-5)


@pytest.mark.parametrize(("precision", "below"), [("f32", 1e-4), ("f16", 0.1), ("bf16", 0.5)])
def test_errors_are_the_largest_of_all_parts(
    reference: Engine, open_named: Any, uncalibrated_bundle: Bundle, good_frames: Frames, precision: str, below: float
) -> None:
    engine = open_named(uncalibrated_bundle, "openvino", precision)
    (row,) = measure_parity(reference, [engine], good_frames, threshold=1.2)
    found, expected = ([one.infer(frame[None]) for frame in good_frames] for one in (engine, reference))
    score_errors = [abs(float(a.scores[0]) - float(b.scores[0])) for a, b in zip(found, expected, strict=True)]
    map_errors = [np.abs(a.maps - b.maps).max() for a, b in zip(found, expected, strict=True)]
    assert row.max_score_error == pytest.approx(max(score_errors), rel=1e-6)
    assert row.max_map_error == pytest.approx(max(map_errors), rel=1e-6)
    assert 0 < row.max_score_error < below * row.score_spread


def test_flips_are_counted_at_the_threshold(
    reference: Engine, open_named: Any, nudge: Any, uncalibrated_bundle: Bundle, bundle_copy: Any, good_frames: Frames
) -> None:
    altered = open_named(nudge(bundle_copy(uncalibrated_bundle), 8.0), "onnxruntime", "f32")
    before, after = (engine.infer(good_frames).scores for engine in (reference, altered))
    threshold = float(np.median(before))
    (row,) = measure_parity(reference, [altered], good_frames, threshold)
    assert row.verdict_flips == int(((before > threshold) != (after > threshold)).sum()) > 0


def test_an_engine_that_overflows_is_as_far_as_json_can_say(
    reference: Engine, open_named: Any, nudge: Any, uncalibrated_bundle: Bundle, bundle_copy: Any, good_frames: Frames
) -> None:
    broken = open_named(nudge(bundle_copy(uncalibrated_bundle), float("inf")), "onnxruntime", "f32")
    assert not np.isfinite(broken.infer(good_frames).scores).all()
    (row,) = measure_parity(reference, [broken], good_frames, threshold=1.2)
    assert row.max_score_error == row.max_map_error == sys.float_info.max


def test_engines_keep_their_order(
    reference: Engine, open_named: Any, uncalibrated_bundle: Bundle, good_frames: Frames
) -> None:
    other = open_named(uncalibrated_bundle, "openvino", "f32")
    seen: list[tuple[str, int, int]] = []
    rows = measure_parity(reference, [other, reference], good_frames[:2], 1.2, lambda *step: seen.append(step))
    assert [row.backend for row in rows] == ["openvino", "onnxruntime"]
    assert seen == [("comparing engines", 1, 2), ("comparing engines", 2, 2)]
