"""The threshold above which a part is rejected, and what N good parts promise about it.

Split conformal: the score of the next good part is equally likely to take any of the N + 1 ranks among the calibration
scores and itself, whatever law the scores follow, as long as the parts are exchangeable. Hence a threshold at the k-th
smallest of N scores rejects a good part with a probability of at most (N + 1 - k) / (N + 1), on average over
calibrations. A tolerance limit promises more: with a confidence, the share that this one threshold rejects.

Parts of one lot resemble each other, so N parts of L lots say less. Where lots are known they are what is exchangeable:
each weighs 1 / L, and the promise is for a part of a lot not seen yet (Lee, Barber and Willett, 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.binomial import rate_bound
from calibration.lots import Lots
from calibration.tail import tail_threshold, within_reach
from engines.errors import CalibrationError

if TYPE_CHECKING:
    from engines.bundle import Method

INTERVAL = 0.95
_RESAMPLES = 400


@dataclass(frozen=True)
class Goal:
    """What is asked of a threshold.

    At most `false_reject_rate` of good parts may be rejected: on average over calibrations, or, with a `confidence`, by
    this one threshold. `certified_only` forbids estimates where parts are too few. Of good parts at most `review_rate`
    may score above the level from which a person should look at them. All are shares between 0 and 1.
    """

    false_reject_rate: float
    confidence: float | None = None
    certified_only: bool = False
    review_rate: float | None = None

    def check(self) -> None:
        """Raise CalibrationError where a share is not between 0 and 1, or review would begin above the threshold."""
        check_rate(self.false_reject_rate)
        if self.confidence is not None and not 0.5 <= self.confidence < 1.0:
            raise CalibrationError(
                f"expected a confidence from 0.5 to below 1 (95 % is 0.95), found {self.confidence:g}"
            )
        if self.review_rate is not None:
            check_rate(self.review_rate)
            if self.review_rate <= self.false_reject_rate:
                raise CalibrationError(
                    f"expected a review rate above the false-reject rate of {self.false_reject_rate:g}, found "
                    f"{self.review_rate:g}; it is the share of good parts that are reviewed or rejected"
                )


@dataclass(frozen=True)
class Threshold:
    """A threshold and its promise; a part is rejected where its score is greater than `value`.

    `value` is exactly a float32, so that a float32 score compares with it alike in float32 and in float64.
    `certified_rate` bounds the share of good parts rejected, 0 to 1: averaged over calibrations, or with `confidence`
    for this one threshold. `bound` is the latter at 95 %; None where lots leave it open. `missing` more parts
    (or lots, where those are known) would certify the target. With the method "tail", `value` is an estimate beyond
    what is certified, which ends at `review_above`. `folds` is how many heads gave the scores, where not the one that
    runs did.
    """

    value: float
    certified_rate: float
    bound: float | None
    parts: int
    lots: int | None
    method: Method
    confidence: float | None
    missing: int
    interval: tuple[float, float] | None = None
    review_above: float | None = None
    folds: int | None = None


def conformal_threshold(scores: ArrayLike, false_reject_rate: float, lots: Sequence[str] | None = None) -> Threshold:
    """Set the threshold at the k-th smallest of N scores, k = ceil((N + 1)(1 - rate)), the largest if k > N.

    `scores` are those of good parts that were not trained on, shape `(N,)`, in any order; `lots` names each part's lot.
    Raises CalibrationError where there is no score, one is not finite, or the rate is not between 0 and 1.
    """
    check_rate(false_reject_rate)
    return _conformal(Lots.of(finite(scores), lots), false_reject_rate)


def tolerance_threshold(
    scores: ArrayLike, false_reject_rate: float, confidence: float, lots: Sequence[str] | None = None
) -> Threshold:
    """Leave as many scores above the threshold as still hold the rate for it with `confidence`; none if N is too small.

    Raises CalibrationError as `conformal_threshold` does.
    """
    Goal(false_reject_rate, confidence).check()
    return _tolerance(Lots.of(finite(scores), lots), false_reject_rate, confidence)


def set_threshold(scores: ArrayLike, goal: Goal, lots: Sequence[str] | None = None) -> Threshold:
    """Set a threshold for `goal` from good parts' scores `(N,)`; `lots` names each part's lot, where that is known.

    Where the parts are too few to certify the goal, the threshold is their largest score, or an estimate above it where
    the tail of the scores reaches that far. Raises CalibrationError as `conformal_threshold` does.
    """
    goal.check()
    grouped = Lots.of(finite(scores), lots)
    limit = _certified(grouped, goal)
    if limit.missing and not goal.certified_only:
        limit = _extrapolated(grouped, goal, limit)
    interval = _interval(grouped, goal, limit)
    review = limit.review_above
    if goal.review_rate is not None:
        review = _review_level(grouped, goal.review_rate, limit)
    return replace(limit, interval=interval, review_above=review)


def check_rate(false_reject_rate: float) -> None:
    """Raise CalibrationError unless the rate is a share between 0 and 1, both excluded."""
    if not 0.0 < false_reject_rate < 1.0:
        raise CalibrationError(
            f"expected a false-reject rate between 0 and 1 (1 % is 0.01), found {false_reject_rate:g}"
        )


def parts_above(parts: int, false_reject_rate: float) -> int:
    """How many of N calibration scores may lie above the threshold: N - k, and 0 where N is too small."""
    return max(math.floor(_weight_above(parts, false_reject_rate)), 0)


def parts_needed(false_reject_rate: float, confidence: float | None = None) -> int:
    """The fewest good parts that can certify a rate: N >= 1 / rate - 1, with a confidence (1 - rate)^N <= 1 - it."""
    if confidence is None:
        return math.ceil(1 / _as_written(false_reject_rate)) - 1
    needed = max(math.ceil(math.log1p(-confidence) / math.log1p(-false_reject_rate)) - 1, 1)
    return needed if rate_bound(needed, 0, confidence) <= false_reject_rate else needed + 1


def tolerance_above(parts: int, false_reject_rate: float, confidence: float) -> int:
    """How many of N scores may lie above a threshold that holds the rate with `confidence`; 0 where N is too small."""
    low, high = 0, parts
    while high - low > 1:
        middle = (low + high) // 2
        if rate_bound(parts, middle, confidence) <= false_reject_rate:
            low = middle
        else:
            high = middle
    return low


def explain(counts: Iterable[int] = (1, 8, 19, 24, 50, 99, 199, 299, 500, 999, 2000)) -> str:
    """A table of what N good parts certify: on average over calibrations, and for one threshold at 95 %."""
    header = "| good parts N | certified on average, 1/(N+1) | this one threshold, 95 % sure |"
    rows = [header, "|---:|---:|---:|"]
    rows += [f"| {n} | {percent(1 / (n + 1))} | {percent(rate_bound(n, 0))} |" for n in counts]
    return "\n".join(rows)


def percent(share: float) -> str:
    """A share as a percentage of three significant digits."""
    return f"{share * 100:.3g} %"


def finite(scores: ArrayLike) -> NDArray[np.float32]:
    """Scores as float32 `(N,)`. Raises CalibrationError where there is none or one is not finite."""
    # Rounding to float32 turns what it cannot hold into infinities, which the check below refuses.
    with np.errstate(over="ignore"):
        array = np.asarray(scores, np.float32)
    if array.ndim != 1 or not array.size:
        raise CalibrationError("expected scores of good parts, found none; a rate of 1 % takes 99 parts")
    broken = np.flatnonzero(~np.isfinite(array))
    if broken.size:
        raise CalibrationError(
            f"{broken.size} of {array.size} scores are not finite (the first is part {broken[0] + 1}: "
            f"{array[broken[0]]}); the network or its engine is broken, train or export the bundle again"
        )
    return array


def _certified(grouped: Lots, goal: Goal) -> Threshold:
    if goal.confidence is None:
        return _conformal(grouped, goal.false_reject_rate)
    return _tolerance(grouped, goal.false_reject_rate, goal.confidence)


def _conformal(grouped: Lots, rate: float) -> Threshold:
    value, weight = grouped.leave_above(_weight_above(grouped.count, rate))
    bound: float | None = rate_bound(grouped.count, round(weight))
    if grouped.known:  # how many lots reach above a threshold is no fixed number, unless none does
        bound = rate_bound(grouped.count, 0) if value == grouped.scores[-1] else None
    return Threshold(
        value=value,
        certified_rate=(weight + 1) / (grouped.count + 1),
        bound=bound,
        parts=grouped.parts,
        lots=grouped.count if grouped.known else None,
        method="conformal",
        confidence=None,
        missing=max(parts_needed(rate) - grouped.count, 0),
    )


def _tolerance(grouped: Lots, rate: float, confidence: float) -> Threshold:
    above = tolerance_above(grouped.count, rate, confidence)
    return Threshold(
        value=_with_maxima_above(grouped, above),
        certified_rate=rate_bound(grouped.count, above, confidence),
        bound=rate_bound(grouped.count, above),
        parts=grouped.parts,
        lots=grouped.count if grouped.known else None,
        method="tolerance",
        confidence=confidence,
        missing=max(parts_needed(rate, confidence) - grouped.count, 0),
    )


def _with_maxima_above(grouped: Lots, above: int) -> float:
    # A part's score is at most its lot's largest, so what bounds that one bounds both.
    return float(grouped.maxima[grouped.count - 1 - above])


def _extrapolated(grouped: Lots, goal: Goal, limit: Threshold) -> Threshold:
    """An estimate above the largest score, where the tail reaches so far; else what was certified."""
    if not within_reach(grouped.effective_parts, goal.false_reject_rate):
        return limit
    estimate = float(np.float32(tail_threshold(grouped.scores, goal.false_reject_rate)))
    if estimate <= limit.value:
        return replace(limit, method="tail")
    return replace(limit, value=estimate, method="tail", review_above=limit.value)


def _interval(grouped: Lots, goal: Goal, limit: Threshold) -> tuple[float, float] | None:
    """Where the threshold would lie for other parts like these: a bootstrap, of whole lots where they are known."""
    if grouped.count < 2:
        return None
    rule = _rule(grouped.count, goal, limit.method)
    rng = np.random.default_rng(0)
    values = [rule(grouped.resampled(rng)) for _ in range(_RESAMPLES)]
    low, high = np.quantile(values, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return float(low), float(high)


def _rule(count: int, goal: Goal, method: Method) -> Callable[[Lots], float]:
    """The threshold as a function of the scores alone; how many may lie above it depends on their number only."""
    if method == "tail":
        return lambda sample: max(tail_threshold(sample.scores, goal.false_reject_rate), float(sample.scores[-1]))
    if goal.confidence is not None:
        above = tolerance_above(count, goal.false_reject_rate, goal.confidence)
        return lambda sample: _with_maxima_above(sample, above)
    weight = _weight_above(count, goal.false_reject_rate)
    return lambda sample: sample.leave_above(weight)[0]


def _review_level(grouped: Lots, review_rate: float, limit: Threshold) -> float | None:
    level = _conformal(grouped, review_rate).value
    known = [limit.review_above] if limit.review_above is not None else []
    lowest = min([level, *known])
    return lowest if lowest < limit.value else None


def _weight_above(count: int, rate: float) -> Fraction:
    """How much weight, of 1 a lot, may lie above a conformal threshold; negative where there are too few."""
    # In floating point (N + 1)(1 - p) lands on either side of a whole number, and a wrong ceil costs the promise.
    # The fraction is that of the rate as it was written, not of its nearest double.
    return (count + 1) * _as_written(rate) - 1


def _as_written(rate: float) -> Fraction:
    return Fraction(repr(float(rate)))
