"""Metrics against the definitions, worked out here in other ways."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

from engines.errors import DataError
from trainer.metrics import AUPRO_LIMIT, aupro, escape_rate, image_metrics, pixel_metrics


def flood_fill(mask: NDArray[np.bool_]) -> list[set[tuple[int, int]]]:
    """8-connected regions, by walking from pixel to pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    regions = []
    while left:
        front = [left.pop()]
        region = set(front)
        while front:
            y, x = front.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            region |= near
            front.extend(near)
        regions.append(region)
    return regions


def brute_force_aupro(maps: NDArray[np.float32], masks: NDArray[np.bool_], limit: float) -> float:
    """The definition: every distinct value as a threshold, every region's overlap counted pixel by pixel."""
    regions = [(index, region) for index, mask in enumerate(masks) for region in flood_fill(mask)]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        predicted = maps >= threshold
        rate = (predicted & ~masks).sum() / (~masks).sum()
        overlaps = [sum(predicted[index][pixel] for pixel in region) / len(region) for index, region in regions]
        points.append((float(rate), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
        if x1 == limit:
            break
    return area / limit


def mean_partial_auc(maps: NDArray[np.float32], masks: NDArray[np.bool_], limit: float) -> float:
    """Other way round: the mean of each region's partial AUC (scikit-learn) against the non-defect pixels."""
    normal = maps[~masks]
    areas = []
    for values, mask in zip(maps, masks, strict=True):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        for region in range(1, count + 1):
            inside = values[labels == region]
            truth = np.repeat([1, 0], [len(inside), len(normal)])
            standardised = roc_auc_score(truth, np.concatenate([inside, normal]), max_fpr=limit)
            lowest = limit**2 / 2  # scikit-learn returns McClish's form: undo it
            areas.append((2 * standardised - 1) * (limit - lowest) + lowest)
    return float(np.mean(areas)) / limit


def small_maps(seed: int, levels: int | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Maps that weakly follow masks of several regions; `levels` quantises them, which makes ties."""
    rng = np.random.default_rng(seed)
    masks = ndimage.gaussian_filter(rng.normal(size=(5, 14, 17)), (0, 1.0, 1.0)) > 0.42
    masks[0] = False
    maps = rng.normal(size=masks.shape) + 1.2 * masks
    if levels:
        maps = np.round(maps * levels / 8)
    return maps.astype(np.float32), masks


@pytest.mark.parametrize("limit", [0.05, AUPRO_LIMIT, 1.0])
@pytest.mark.parametrize("levels", [None, 16, 3])
@pytest.mark.parametrize("seed", range(4))
def test_aupro_equals_both_references(seed: int, levels: int | None, limit: float) -> None:
    maps, masks = small_maps(seed, levels)
    value = aupro(maps, list(masks), limit)
    assert value == pytest.approx(brute_force_aupro(maps, masks, limit), abs=1e-6)
    if limit < 1:
        assert value == pytest.approx(mean_partial_auc(maps, masks, limit), abs=1e-6)


def test_aupro_counts_diagonal_neighbours_as_one_region() -> None:
    maps = np.zeros((1, 6, 6), np.float32)
    mask = np.zeros((1, 6, 6), bool)
    mask[0, [0, 1], [0, 1]] = True  # 8-connected: one region of two pixels
    mask[0, 5, 5] = True
    maps[0, 0, 0] = 1.0
    # One of two pixels of the first region is found, none of the second: overlap 1/4 at no false positive,
    # then a straight line to (1, 1).
    expected = (0.25 + 0.25 + 0.75 * AUPRO_LIMIT) / 2
    assert aupro(maps, list(mask)) == pytest.approx(expected, abs=1e-6)


def test_aupro_weighs_regions_alike_whatever_their_size() -> None:
    mask = np.zeros((1, 20, 20), bool)
    mask[0, :10, :10] = True
    mask[0, 15, 15] = True
    maps = np.where(mask, 1.0, 0.0).astype(np.float32)
    maps[0, 15, 15] = -1.0
    # The single pixel is missed until everything is marked: half the regions at every rate below 1.
    assert aupro(maps, list(mask)) == pytest.approx(0.5, abs=1e-6)


def test_aupro_does_not_dilate() -> None:
    mask = np.zeros((1, 30, 30), bool)
    mask[0, 10:15, 10:15] = True
    beside = np.roll(mask, 5, axis=2).astype(np.float32)
    assert aupro(beside, list(mask)) < AUPRO_LIMIT


def test_aupro_without_normal_pixels_is_refused() -> None:
    with pytest.raises(DataError, match="outside it"):
        aupro(np.zeros((1, 4, 4), np.float32), [np.ones((4, 4), bool)])


@pytest.mark.parametrize("levels", [None, 16])
def test_pixel_metrics_equal_scikit_learn_on_unsorted_pixels(levels: int | None) -> None:
    maps, masks = small_maps(7, levels)
    found = pixel_metrics(maps, list(masks), masks.any((1, 2)))
    assert found["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert found["pixel_ap"] == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert found["aupro"] == pytest.approx(brute_force_aupro(maps, masks, AUPRO_LIMIT), abs=1e-6)
    assert found["n_empty_masks"] == 0


def test_defects_without_mask_are_left_out_and_counted() -> None:
    maps, masks = small_maps(3, None)
    truth = np.array([False, True, True, True, True])
    given: list[NDArray[np.bool_] | None] = list(masks)
    given[2], given[3] = None, np.zeros_like(masks[3])
    keep = [0, 1, 4]
    found = pixel_metrics(maps, given, truth)
    assert found["n_empty_masks"] == 2
    expected = pixel_metrics(maps[keep], [masks[i] for i in keep], truth[keep])
    assert {**found, "n_empty_masks": 0} == expected


def test_pixels_of_good_parts_count_with_and_without_a_mask() -> None:
    maps, masks = small_maps(5, None)
    truth = np.asarray(masks.any((1, 2)))
    without = pixel_metrics(maps, [mask if mask.any() else None for mask in masks], truth)
    assert without == pixel_metrics(maps, list(masks), truth)
    assert without != pixel_metrics(maps[truth], list(masks[truth]), truth[truth])


def test_no_masks_at_all_gives_none() -> None:
    found = pixel_metrics(np.zeros((3, 4, 4), np.float32), [None] * 3, [False, True, True])
    assert found == {"pixel_auroc": None, "pixel_ap": None, "aupro": None, "n_empty_masks": 2}


@pytest.mark.parametrize(
    ("maps", "masks", "truth", "message"),
    [
        (np.zeros((2, 4, 4)), [None], [False, True], "N masks"),
        (np.zeros((4, 4)), [None] * 4, [True] * 4, "expected maps"),
        (np.zeros((1, 4, 4)), [np.ones((4, 5), bool)], [True], r"\(4, 5\)"),
        (np.zeros((1, 4, 4)), [np.eye(4, dtype=bool)], [False], "labelled good"),
        (np.full((1, 4, 4), np.nan), [np.eye(4, dtype=bool)], [True], "finite"),
    ],
)
def test_pixel_metrics_refuse_what_does_not_fit(maps: NDArray, masks: list, truth: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pixel_metrics(maps, masks, truth)


def test_image_metrics_of_a_worked_example() -> None:
    # Downwards: defect, defect, good, defect, good, good.
    found = image_metrics([0.9, 0.8, 0.7, 0.6, 0.5, 0.1], [1, 1, 0, 1, 0, 0])
    assert found == pytest.approx(
        {
            "image_auroc": 8 / 9,
            "image_ap": (1 + 1 + 3 / 4) / 3,
            "image_f1_max": 2 * 3 / (4 + 3),
            "escape_at_0pct_fr": 1 / 3,
            "escape_at_1pct_fr": 1 / 3,
            "n_good": 3,
            "n_defect": 3,
        }
    )


def brute_force_escape(good: NDArray[np.float64], defects: NDArray[np.float64], rate: float) -> float:
    """The fewest escapes over every threshold that rejects no more good parts than allowed."""
    thresholds = np.concatenate([good, defects, [-np.inf]])
    return min(
        float(np.mean(defects <= t)) for t in thresholds if np.sum(good > t) <= round(rate * 1000) * len(good) // 1000
    )


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.05, 0.29, 1.0])
@pytest.mark.parametrize("n_good", [1, 20, 99, 100, 101, 300])
def test_escape_rate_is_the_least_any_threshold_reaches(n_good: int, rate: float) -> None:
    rng = np.random.default_rng(n_good)
    good, defects = np.round(rng.normal(size=n_good), 1), np.round(rng.normal(1, 1, size=57), 1)
    truth = np.repeat([False, True], [n_good, 57])
    found = escape_rate(np.concatenate([good, defects]), truth, rate)
    assert found == pytest.approx(brute_force_escape(good, defects, rate))


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ([1.0, 2.0], [True, True], "found 0 good and 2 defective"),
        ([1.0, 2.0], [False, False], "found 2 good and 0 defective"),
        ([1.0, np.nan], [False, True], "1 of 2 scores"),
        ([1.0, 2.0, 3.0], [False, True], "one score and one truth"),
    ],
)
def test_image_metrics_refuse_what_cannot_be_judged(scores: list, truth: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        image_metrics(scores, truth)
