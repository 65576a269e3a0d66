from __future__ import annotations

import dataclasses
import math

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from edge.decision import MAX_REGIONS, Judge, find_regions
from edge.verdict import Evaluation, Severity
from engines.preprocess import Preprocessing

FULL = Preprocessing(field="full", resize=64)


def judge_of(threshold: float, map_threshold: float = 1.0) -> Judge:
    return Judge(threshold, map_threshold, FULL)


def flat_map(size: int = 64) -> NDArray[np.float32]:
    return np.zeros((size, size), np.float32)


@pytest.mark.parametrize(
    ("score", "evaluation"),
    [
        (0.5, Evaluation.OK),
        (np.float32(0.7), Evaluation.OK),
        (np.nextafter(np.float32(0.7), np.float32(1)), Evaluation.NOT_OK),
        (-3.0, Evaluation.OK),
        (9.0, Evaluation.NOT_OK),
        (math.nan, Evaluation.NOT_DECIDABLE),
        (math.inf, Evaluation.NOT_DECIDABLE),
        (-math.inf, Evaluation.NOT_DECIDABLE),
    ],
)
def test_only_a_score_above_the_threshold_is_not_ok(score: float, evaluation: Evaluation) -> None:
    decision = judge_of(float(np.float32(0.7))).decide(float(score), flat_map(), (64, 64, 3))
    assert decision.evaluation is evaluation
    assert bool(decision.reason) is (evaluation is not Evaluation.OK)
    assert (decision.score is None) is (evaluation is Evaluation.NOT_DECIDABLE)


@pytest.mark.parametrize(("score", "review"), [(0.4, False), (0.5, True), (0.7, True), (0.8, False), (math.nan, False)])
def test_the_grey_zone_passes_and_is_to_be_reviewed(score: float, review: bool) -> None:
    judge = dataclasses.replace(judge_of(0.7), review_above=0.45)
    assert judge.decide(score, flat_map(), (64, 64)).review is review
    assert not judge_of(0.7).decide(score, flat_map(), (64, 64)).review


def test_what_is_not_ok_has_a_severity_and_nothing_else_has() -> None:
    spot = flat_map()
    spot[10:14, 20:28] = 3.0
    found = judge_of(0.5).decide(2.0, spot, (64, 64)).severity
    assert found == Severity(peak=1.5, area=32 / 64**2, integrated=2 * 32 / 64**2, grade="uncalibrated")
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(found)), Severity) == found
    assert judge_of(0.5).decide(0.5, spot, (64, 64)).severity is None
    assert judge_of(0.5).decide(math.nan, spot, (64, 64)).severity is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_map_that_is_not_finite_makes_the_part_undecidable(value: float) -> None:
    broken = flat_map()
    broken[3, 3] = value
    decision = judge_of(1.0).decide(0.0, broken, (64, 64))
    assert decision.evaluation is Evaluation.NOT_DECIDABLE
    assert decision.regions == ()


def test_regions_are_the_connected_areas_above_the_map_threshold() -> None:
    rng = np.random.default_rng(3)
    anomaly_map = ndimage.gaussian_filter(rng.normal(size=(64, 64)), 3).astype(np.float32)
    threshold = float(np.quantile(anomaly_map, 0.8))
    regions = find_regions(anomaly_map, threshold, FULL, (64, 64))
    labels, count = ndimage.label(anomaly_map > threshold, structure=np.ones((3, 3)))
    boxes = ndimage.find_objects(labels)
    peaks = ndimage.maximum(anomaly_map, labels, range(1, count + 1))
    places = ndimage.maximum_position(anomaly_map, labels, range(1, count + 1))
    expected = {
        (box[1].start, box[0].start, box[1].stop - box[1].start, box[0].stop - box[0].start, float(peak), place[::-1])
        for box, peak, place in zip(boxes, peaks, places, strict=True)
    }
    found = {(r.x, r.y, r.width, r.height, r.peak, (r.peak_x, r.peak_y)) for r in regions}
    assert len(regions) == count > 3
    assert found == expected
    assert [r.peak for r in regions] == sorted((r.peak for r in regions), reverse=True)


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    anomaly_map = flat_map()
    anomaly_map[10, 10] = anomaly_map[11, 11] = 2.0
    assert len(find_regions(anomaly_map, 1.0, FULL, (64, 64))) == 1


def test_a_map_at_the_threshold_has_no_region() -> None:
    assert find_regions(np.full((64, 64), 1.0, np.float32), 1.0, FULL, (64, 64)) == ()


def test_of_too_many_regions_the_highest_peaks_are_told() -> None:
    anomaly_map = flat_map()
    anomaly_map[::4, ::4] = np.arange(256, dtype=np.float32).reshape(16, 16) + 2
    regions = find_regions(anomaly_map, 1.0, FULL, (64, 64))
    assert [r.peak for r in regions] == [float(257 - rank) for rank in range(MAX_REGIONS)]


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(field="full", resize=256),
        Preprocessing(field="crop", resize=256, crop=224),
        Preprocessing(field="full", resize=128, roi=(100, 40, 400, 300)),
        Preprocessing(field="crop", resize=256, crop=224, roi=(60, 30, 560, 430)),
    ],
)
@pytest.mark.parametrize("place", [(300, 200, 60, 40), (190, 120, 24, 90)])
def test_a_region_lies_where_the_defect_is_in_the_camera_frame(
    preprocessing: Preprocessing, place: tuple[int, int, int, int]
) -> None:
    x, y, width, height = place
    frame = np.zeros((480, 640, 3), np.uint8)
    cv2.rectangle(frame, (x, y), (x + width - 1, y + height - 1), (255, 255, 255), -1)
    seen = preprocessing(frame)[:, :, 0].astype(np.float32)
    (region,) = find_regions(seen, 127.0, preprocessing, frame.shape)
    # One pixel of the network's input is so many pixels of the frame; the box cannot be more exact than that.
    grain = math.ceil((preprocessing.roi or (0, 0, 640, 480))[2] / preprocessing.resize)
    edges = (region.x, region.y, region.x + region.width, region.y + region.height)
    assert np.abs(np.subtract(edges, (x, y, x + width, y + height))).max() <= grain
    assert x <= region.peak_x < x + width
    assert y <= region.peak_y < y + height


def test_a_region_never_leaves_the_frame() -> None:
    everything = np.ones((224, 224), np.float32)
    crop = Preprocessing()
    (region,) = find_regions(everything, 0.5, crop, (333, 517))
    assert region.x >= 0
    assert region.y >= 0
    assert region.x + region.width <= 517
    assert region.y + region.height <= 333
