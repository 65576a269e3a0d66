from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.guarantee import guarantee
from calibration.procedure import available_engines, calibrate, compare_engines
from calibration.scoring import score_parts
from calibration.threshold import Goal, set_threshold
from engines.bundle import Bundle
from engines.errors import BundleError, CalibrationError
from engines.images import list_images, read_image

Frames = NDArray[np.uint8]
F32 = ("onnxruntime", "f32")


@pytest.fixture
def bundle(bundle_copy: Any, uncalibrated_bundle: Bundle) -> Bundle:
    return bundle_copy(uncalibrated_bundle)


def test_thresholds_follow_the_rule_on_scores_and_on_map_peaks(
    bundle: Bundle, open_named: Any, good_frames: Frames
) -> None:
    engine = open_named(bundle, *F32)
    calibration = calibrate(bundle, engine, good_frames, 0.1).latest_calibration
    found = [engine.infer(frame[None]) for frame in good_frames]
    scores = np.sort([one.scores[0] for one in found])
    peaks = np.sort([one.maps.max() for one in found])
    # ceil(25 * 0.9) = 23
    assert calibration.threshold == float(scores[22])
    assert calibration.map_threshold == float(peaks[22])
    assert calibration.certified_rate == pytest.approx(2 / 25)
    assert (calibration.parts, calibration.false_reject_rate) == (24, 0.1)
    assert calibration.scores == tuple(scores.tolist())
    assert calibration.guarantee == guarantee(set_threshold(scores, Goal(0.1)), Goal(0.1))


def test_good_parts_pass_and_scratched_ones_do_not(
    calibrated_bundle: Bundle, open_named: Any, part_photos: Any
) -> None:
    calibration = calibrated_bundle.latest_calibration
    engine = open_named(calibrated_bundle, calibration.backend, calibration.precision)
    preprocessing = calibrated_bundle.info.preprocessing

    def rejected(label: str) -> int:
        paths = list_images(part_photos / "test" / label)
        inspections = [engine.infer(preprocessing(read_image(path))[None]) for path in paths]
        return sum(bool(one.scores[0] > calibration.threshold) for one in inspections)

    assert rejected("good") <= 1
    assert rejected("scratch") == 6


def test_what_is_written_is_what_was_measured(bundle: Bundle, open_named: Any, good_frames: Frames) -> None:
    engine = open_named(bundle, *F32)
    written = Bundle.open(calibrate(bundle, engine, good_frames, 0.05).path)
    calibration = written.latest_calibration
    description = engine.description
    assert (calibration.backend, calibration.precision, calibration.device) == (*F32, description.device)
    assert calibration.versions == description.versions
    golden = written.golden_frames(calibration)
    assert golden.shape == (8, 128, 128, 3)
    scores = [engine.infer(frame[None]).scores[0] for frame in golden]
    assert [part.score for part in calibration.golden] == scores == sorted(scores)
    assert len({part.file for part in calibration.golden}) == 8
    assert written.info.provenance == bundle.info.provenance


def test_parity_covers_every_other_engine_of_this_machine(calibrated_bundle: Bundle) -> None:
    rows = calibrated_bundle.latest_calibration.parity
    expected = [name for name in available_engines() if name != F32 and name[1] != "int8"]  # it has no int8 network
    assert sorted((row.backend, row.precision) for row in rows) == sorted(expected)
    assert {row.images for row in rows} <= {24}


def test_the_reference_is_not_compared_with_itself(bundle: Bundle, open_named: Any, good_frames: Frames) -> None:
    rows = compare_engines(bundle, open_named(bundle, *F32), good_frames[:2], 1.2)
    assert F32 not in [(row.backend, row.precision) for row in rows]


def test_another_engine_adds_a_calibration_and_the_same_replaces_its_own(
    bundle: Bundle, open_named: Any, good_frames: Frames
) -> None:
    def run(bundle: Bundle, backend: str, rate: float, parts: Frames) -> Bundle:
        return calibrate(bundle, open_named(bundle, backend, "f32"), parts, rate)

    first = run(bundle, "onnxruntime", 0.05, good_frames)
    replaced = first.golden_frames(first.latest_calibration)
    second = run(first, "openvino", 0.05, good_frames[:12])
    third = run(second, "onnxruntime", 0.2, good_frames[6:])
    entries = third.info.calibrations
    assert [(entry.backend, entry.false_reject_rate, entry.parts) for entry in entries] == [
        ("openvino", 0.05, 12),
        ("onnxruntime", 0.2, 18),
    ]
    assert entries[0] == second.latest_calibration
    assert third.latest_calibration.backend == "onnxruntime"
    assert len(third.golden_frames(entries[0])) == len(third.golden_frames(entries[1])) == 8
    assert not np.array_equal(third.golden_frames(entries[1]), replaced)


def test_one_part_is_enough_to_begin_with(bundle: Bundle, open_named: Any, good_frames: Frames) -> None:
    calibration = calibrate(bundle, open_named(bundle, *F32), good_frames[:1], 0.01).latest_calibration
    assert calibration.certified_rate == 0.5
    assert "next to nothing" in calibration.guarantee
    assert len(calibration.golden) == 1
    assert calibration.golden[0].score == calibration.threshold
    assert calibration.golden_tolerance > 0


@pytest.mark.parametrize(
    ("parts", "rate", "message"),
    [(0, 0.01, "expected good parts to calibrate with, found none"), (4, 1.0, "between 0 and 1")],
)
def test_refusals_leave_the_bundle_as_it_was(
    bundle: Bundle, open_named: Any, good_frames: Frames, parts: int, rate: float, message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibrate(bundle, open_named(bundle, *F32), good_frames[:parts], rate)
    assert Bundle.open(bundle.path).digest == bundle.digest


def test_scores_that_are_not_finite_are_refused(
    bundle: Bundle, open_named: Any, nudge: Any, good_frames: Frames
) -> None:
    broken = nudge(bundle, float("nan"))
    with pytest.raises(CalibrationError, match="24 of 24 scores are not finite"):
        calibrate(broken, open_named(broken, *F32), good_frames, 0.05)
    assert not Bundle.open(broken.path).info.calibrations


def test_of_two_calibrations_at_once_the_later_one_is_told(
    bundle: Bundle, open_named: Any, good_frames: Frames
) -> None:
    engine = open_named(bundle, *F32)
    changed = calibrate(bundle, engine, good_frames[:2], 0.5)
    with pytest.raises(BundleError, match="another process has changed the bundle"):
        calibrate(bundle, engine, good_frames[2:4], 0.5)
    assert Bundle.open(bundle.path).digest == changed.digest


def test_parts_are_scored_one_at_a_time_as_the_daemon_does(
    uncalibrated_bundle: Bundle, open_named: Any, good_frames: Frames
) -> None:
    engine = open_named(uncalibrated_bundle, *F32)
    batches: list[int] = []
    infer = engine.infer
    engine.infer = lambda frames: batches.append(len(frames)) or infer(frames)  # type: ignore[method-assign]
    seen: list[tuple[str, int, int]] = []
    score_parts(engine, good_frames[:3], lambda *step: seen.append(step))
    assert batches == [1, 1, 1]
    assert seen == [("scoring", 1, 3), ("scoring", 2, 3), ("scoring", 3, 3)]
