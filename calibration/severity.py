"""How bad a rejected part is: three measures of every one, and grades once a person has graded some.

Scores tell good parts from others; that a higher one is a worse defect is nowhere promised, and a benchmark of ordered
severities (arXiv 2411.14515) finds that it often is not. So there is no grade until labelled parts have shown that
the measures rank as their owner does. The map from measures to grades is monotone: more of any measure never lowers it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.bundle import Calibration, SeverityScale
from engines.errors import CalibrationError

GRADES = ("minor", "major", "critical")
UNCALIBRATED = "uncalibrated"
FEWEST_LABELS = 12
FEWEST_A_GRADE = 4
SIGNIFICANCE = 0.05
_SHUFFLES = 2000


@dataclass(frozen=True)
class Exceedance:
    """By how much a part exceeds its thresholds, all at least 0.

    `peak` is how far the score lies above the threshold. `area` is the share, 0 to 1, of the inspected picture whose
    map lies above the map's threshold, and `integrated` the mean over the picture of how far it lies above.
    """

    peak: float
    area: float
    integrated: float


def measure_exceedance(
    score: float, anomaly_map: NDArray[np.float32], threshold: float, map_threshold: float
) -> Exceedance:
    """Measure one part by its score and its blurred map `(H, W)`; both in units of the score."""
    above = np.maximum(anomaly_map - np.float32(map_threshold), 0)
    return Exceedance(
        peak=max(score - threshold, 0.0),
        area=int(np.count_nonzero(above)) / above.size,
        integrated=float(above.mean(dtype=np.float64)),
    )


def fits(scale: SeverityScale | None, calibration: Calibration) -> bool:
    """Whether a scale belongs to a calibration: measures above other thresholds are other measures."""
    return scale is not None and (scale.backend, scale.precision, scale.threshold, scale.map_threshold) == (
        *(calibration.backend, calibration.precision),
        *(calibration.threshold, calibration.map_threshold),
    )


def grade(exceedance: Exceedance, scale: SeverityScale | None) -> str:
    """The grade of one part; `uncalibrated` without a scale."""
    if scale is None:
        return UNCALIBRATED
    value = float(_features([exceedance], scale.units)[0] @ np.asarray(scale.weights))
    return scale.grades[sum(value > cut for cut in scale.cuts)]


def fit_scale(measured: Sequence[Exceedance], labels: Sequence[str], calibration: Calibration) -> SeverityScale:
    """Fit a monotone map from measures of N graded parts to their grades.

    `concordance` and `tau_b` are measured with each part graded by a map fitted to the others. Raises
    CalibrationError where there are too few labels, or where the measures do not rank as the labels do.
    """
    order = np.asarray([GRADES.index(label) for label in labels])
    _check_labels(order)
    held_out = _leave_one_out(measured, order)
    tau, chance = kendall_tau_b(held_out, order), _chance(held_out, order)
    concordance = concordance_index(held_out, order)
    if not tau > 0 or chance > SIGNIFICANCE:
        raise CalibrationError(
            f"the measures do not rank {len(order)} graded parts as their grades do (concordance index "
            f"{concordance:.2f}, Kendall's tau-b {tau:.2f}, as good by chance in {chance:.0%} of shuffles): severity "
            "stays uncalibrated; grade more parts, or leave grading to people"
        )
    units, weights = _fit(measured, order)
    values = _features(measured, units) @ weights
    present = sorted(set(order.tolist()))
    return SeverityScale(
        backend=calibration.backend,
        precision=calibration.precision,
        threshold=calibration.threshold,
        map_threshold=calibration.map_threshold,
        units=_triple(units),
        weights=_triple(weights),
        grades=tuple(GRADES[index] for index in present),
        cuts=_cuts(values, order, present),
        labels={GRADES[index]: int(np.sum(order == index)) for index in present},
        concordance=concordance,
        tau_b=tau,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def concordance_index(values: ArrayLike, grades: ArrayLike) -> float:
    """Share of pairs of differently graded parts that `values` orders alike; equal values count half. NaN: no pair."""
    agree, differ, _ = _pairs(values, grades)
    wrong = np.sum(differ & (agree < 0))
    right = np.sum(differ & (agree > 0))
    total = int(differ.sum())
    return float((right + (total - right - wrong) / 2) / total) if total else float("nan")


def kendall_tau_b(values: ArrayLike, grades: ArrayLike) -> float:
    """Kendall's rank correlation, corrected for ties in both; NaN where one of them is constant."""
    agree, differ, distinct = _pairs(values, grades)
    norm = np.sqrt(float(differ.sum()) * float(distinct.sum()))
    return float(agree.sum() / norm) if norm else float("nan")


def _pairs(values: ArrayLike, grades: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Of every pair: +1 where both orders agree, -1 where they contradict, 0 where one is tied; and who differs."""
    v, g = np.asarray(values, np.float64), np.asarray(grades, np.float64)
    first, second = np.triu_indices(len(v), k=1)
    by_value, by_grade = np.sign(v[second] - v[first]), np.sign(g[second] - g[first])
    return by_value * by_grade, by_grade != 0, by_value != 0


def _check_labels(order: NDArray[np.int64]) -> None:
    counts = {GRADES[index]: int(np.sum(order == index)) for index in set(order.tolist())}
    named = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
    if len(order) < FEWEST_LABELS or len(counts) < 2 or min(counts.values()) < FEWEST_A_GRADE:
        raise CalibrationError(
            f"expected at least {FEWEST_LABELS} graded parts, of two or three grades ({', '.join(GRADES)}) and "
            f"{FEWEST_A_GRADE} of each, found {named}; grade more of the parts that were rejected"
        )


def _features(measured: Sequence[Exceedance], units: ArrayLike) -> NDArray[np.float64]:
    # Areas of defects span powers of ten; the logarithm keeps the largest from deciding everything.
    raw = np.asarray([(one.peak, one.area, one.integrated) for one in measured], np.float64)
    return np.log1p(raw / np.asarray(units))


def _fit(measured: Sequence[Exceedance], order: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Units that measures are divided by (their medians), and weights, none below zero, so that the map is monotone."""
    raw = np.asarray([(one.peak, one.area, one.integrated) for one in measured], np.float64)
    units = np.asarray([np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in raw.T])
    x = _features(measured, units)
    x, y = x - x.mean(axis=0), order - order.mean()
    best, weights = float(y @ y), np.zeros(x.shape[1])
    # Non-negative least squares by trying every subset: there are seven.
    for size in range(1, x.shape[1] + 1):
        for chosen in map(list, itertools.combinations(range(x.shape[1]), size)):
            part = np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
            error = float(np.sum((x[:, chosen] @ part - y) ** 2))
            if part.min() >= 0 and error < best:
                best, weights = error, np.zeros(x.shape[1])
                weights[chosen] = part
    return units, weights


def _leave_one_out(measured: Sequence[Exceedance], order: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.empty(len(order))
    for index in range(len(order)):
        others = [one for other, one in enumerate(measured) if other != index]
        rest = np.delete(order, index)
        units, weights = _fit(others, rest)
        features = _features(measured, units)
        # Relative to the mean of all measures, whose units differ a little from map to map.
        values[index] = (features[index] - features.mean(axis=0)) @ weights
    return values


def _chance(values: NDArray[np.float64], order: NDArray[np.int64]) -> float:
    """How often shuffled grades agree with the values as well."""
    rng = np.random.default_rng(0)
    found = concordance_index(values, order)
    hits = sum(concordance_index(values, rng.permutation(order)) >= found for _ in range(_SHUFFLES))
    return (1 + hits) / (1 + _SHUFFLES)


def _cuts(values: NDArray[np.float64], order: NDArray[np.int64], present: Sequence[int]) -> tuple[float, ...]:
    """Values above which a part has the next grade, ascending: those with the fewest labels on the wrong side."""
    ordered = np.sort(values)
    candidates = np.concatenate([[ordered[0]], (ordered[1:] + ordered[:-1]) / 2])
    cuts: list[float] = []
    for higher in present[1:]:
        errors = [int(np.sum((values > cut) != (order >= higher))) for cut in candidates]
        cuts.append(max([float(candidates[int(np.argmin(errors))]), *cuts]))
    return tuple(cuts)


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
