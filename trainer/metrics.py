"""How well scores and anomaly maps tell defects from good parts, on data with known truth.

Nothing here may choose anything that is reported beside it: thresholds that are applied to parts come from
`calibration`, which never sees a defect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score

from engines.errors import DataError

AUPRO_LIMIT = 0.3
PIXEL_KEYS = ("pixel_auroc", "pixel_ap", "aupro")


def image_metrics(scores: ArrayLike, is_defect: ArrayLike) -> dict[str, float]:
    """Image-level figures of N scores `(N,)`, higher is more anomalous, against N truths `(N,)`.

    Keys: image_auroc, image_ap, image_f1_max, escape_at_0pct_fr, escape_at_1pct_fr, n_good, n_defect.
    Raises DataError for scores that are not finite, and where good or defective parts are missing altogether.
    """
    values, truth = _checked_scores(scores, is_defect)
    return {
        "image_auroc": float(roc_auc_score(truth, values)),
        "image_ap": float(average_precision_score(truth, values)),
        "image_f1_max": _f1_max(values, truth),
        "escape_at_0pct_fr": escape_rate(values, truth, 0.0),
        "escape_at_1pct_fr": escape_rate(values, truth, 0.01),
        "n_good": int((~truth).sum()),
        "n_defect": int(truth.sum()),
    }


def escape_rate(scores: NDArray[np.floating], is_defect: NDArray[np.bool_], false_reject_rate: float) -> float:
    """Share of defects that pass while at most `false_reject_rate` of these good parts is rejected.

    With G good parts, floor(rate * G) of them may score above the threshold, which is the lowest that keeps
    to it: the good score of rank G - floor(rate * G), counted upwards. A part is rejected when its score is
    above the threshold.
    """
    good = np.sort(scores[~is_defect])
    # 0.29 * 100 is 28.999999999999996: without the slack one allowed reject would be lost to rounding.
    allowed = math.floor(false_reject_rate * len(good) + 1e-9)
    if allowed >= len(good):
        return 0.0
    threshold = good[len(good) - allowed - 1]
    return float(np.mean(scores[is_defect] <= threshold))


def pixel_metrics(
    maps: NDArray[np.floating], masks: Sequence[NDArray[np.bool_] | None], is_defect: ArrayLike
) -> dict[str, float | None]:
    """Pixel-level figures of anomaly maps `(N, H, W)` against N masks `(H, W)`, True on the defect.

    A mask is None where the data set has none. A defective part whose mask is None or empty (also when its
    defect lies outside the field of view) cannot be judged by pixels: it is left out and counted in
    `n_empty_masks`. Keys: pixel_auroc, pixel_ap, aupro, n_empty_masks; the first three are None where no mask
    is left.
    Raises DataError for masks that do not fit the maps, and for a good part whose mask marks a defect.
    """
    truth = np.asarray(is_defect, bool)
    _check_masks(maps, masks, truth)
    marked = np.array([mask is not None and bool(mask.any()) for mask in masks], bool)
    n_empty = int((truth & ~marked).sum())
    if not marked.any():
        return {**dict.fromkeys(PIXEL_KEYS), "n_empty_masks": n_empty}
    ranking = _rank(maps, masks, np.flatnonzero(marked | ~truth))
    # Already sorted, so that scikit-learn's own stable sort of tens of millions of pixels takes linear time.
    labels = ranking.region_weights > 0
    return {
        "pixel_auroc": float(roc_auc_score(labels, ranking.scores)),
        "pixel_ap": float(average_precision_score(labels, ranking.scores)),
        "aupro": _area_under_pro(ranking, AUPRO_LIMIT),
        "n_empty_masks": n_empty,
    }


def aupro(maps: NDArray[np.floating], masks: Sequence[NDArray[np.bool_] | None], limit: float = AUPRO_LIMIT) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate of `limit`, divided by `limit`.

    Bergmann et al., "The MVTec Anomaly Detection Dataset" (IJCV 2021), section 5: every 8-connected region of
    the masks counts alike whatever its size; the false-positive rate is over the non-defect pixels of all
    images. Neither prediction nor truth is dilated; every distinct value of the maps is a threshold. A mask
    of None has no defect. Raises DataError where there is no region, or no pixel outside them.
    """
    _check_masks(maps, masks, np.ones(len(maps), bool))
    return _area_under_pro(_rank(maps, masks, np.arange(len(maps))), limit)


@dataclass(frozen=True)
class _Ranking:
    """All pixels from the highest score down.

    `region_weights` is 1/size of the region a pixel belongs to, and 0 off the defects.
    """

    scores: NDArray[np.float32]
    region_weights: NDArray[np.float32]
    n_regions: int


def _rank(maps: NDArray[np.floating], masks: Sequence[NDArray[np.bool_] | None], chosen: NDArray[np.intp]) -> _Ranking:
    weights = np.zeros((len(chosen), *maps.shape[1:]), np.float32)
    n_regions = 0
    for row, index in enumerate(chosen):
        mask = masks[index]
        if mask is not None:
            n_regions += _weigh_regions(mask, weights[row])
    scores = maps[chosen].astype(np.float32, copy=False).ravel()
    order = np.argsort(scores)[::-1]
    return _Ranking(scores[order], weights.ravel()[order], n_regions)


def _weigh_regions(mask: NDArray[np.bool_], weights: NDArray[np.float32]) -> int:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sizes = np.bincount(labels.ravel(), minlength=count)
    inverse = np.zeros(count, np.float32)
    inverse[1:] = 1.0 / sizes[1:]
    weights[:] = inverse[labels]
    return count - 1


def _area_under_pro(ranking: _Ranking, limit: float) -> float:
    normal = ranking.region_weights == 0
    n_normal = int(normal.sum())
    if not ranking.n_regions or not n_normal:
        raise DataError("the per-region overlap needs masks with a defect and some pixels outside it")
    # Pixels of equal score pass a threshold together: the curve has a vertex at the last of each tie only.
    last_of_tie = np.append(np.flatnonzero(np.diff(ranking.scores)), len(ranking.scores) - 1)
    rate = np.cumsum(normal)[last_of_tie] / n_normal
    overlap = np.cumsum(ranking.region_weights, dtype=np.float64)[last_of_tie] / ranking.n_regions
    return _area_to(np.append(0.0, rate), np.append(0.0, overlap), limit) / limit


def _area_to(x: NDArray[np.float64], y: NDArray[np.float64], limit: float) -> float:
    inside = int(np.searchsorted(x, limit, side="right"))
    if inside == len(x):
        return float(auc(x, y))
    share = (limit - x[inside - 1]) / (x[inside] - x[inside - 1])
    y_limit = y[inside - 1] + share * (y[inside] - y[inside - 1])
    return float(auc(np.append(x[:inside], limit), np.append(y[:inside], y_limit)))


def _f1_max(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    precision, recall, _ = precision_recall_curve(truth, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)))


def _checked_scores(scores: ArrayLike, is_defect: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, truth = np.asarray(scores, np.float64), np.asarray(is_defect, bool)
    if values.ndim != 1 or values.shape != truth.shape:
        raise DataError(f"expected one score and one truth a part, found shapes {values.shape} and {truth.shape}")
    if not np.isfinite(values).all():
        raise DataError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite numbers")
    if truth.all() or not truth.any():
        raise DataError(
            f"expected good and defective parts, found {int((~truth).sum())} good "
            f"and {int(truth.sum())} defective; "
            "metrics need both (test/good and test/<defect> in MVTec AD's layout)"
        )
    return values, truth


def _check_masks(
    maps: NDArray[np.floating], masks: Sequence[NDArray[np.bool_] | None], is_defect: NDArray[np.bool_]
) -> None:
    if maps.ndim != 3 or not len(maps) == len(masks) == len(is_defect):
        raise DataError(
            f"expected maps (N, H, W), N masks and N truths, found {maps.shape}, {len(masks)} and {len(is_defect)}"
        )
    if not np.isfinite(maps).all():
        raise DataError("the anomaly maps hold values that are not finite numbers")
    for index, (mask, defect) in enumerate(zip(masks, is_defect, strict=True)):
        if mask is None:
            continue
        if mask.shape != maps.shape[1:]:
            raise DataError(f"mask {index} has shape {mask.shape}, expected its map's {maps.shape[1:]}")
        if not defect and mask.any():
            raise DataError(f"part {index} is labelled good, but its mask marks {int(mask.sum())} defect pixels")
