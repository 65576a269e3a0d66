"""The threshold above which a part is rejected, and what N good parts promise about it (split conformal).

The score of the next good part is equally likely to take any of the N + 1 ranks among the calibration scores
and itself, whatever law the scores follow, as long as the parts are exchangeable. Hence a threshold at the k-th
smallest of N scores rejects a good part with a probability of at most (N + 1 - k) / (N + 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.errors import CalibrationError

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Threshold:
    """A threshold and its promise; a part is rejected where its score is greater than `value`.

    `value` is exactly a float32, so that a float32 score compares with it alike in float32 and in float64.
    `certified_rate` bounds the share of good parts rejected, 0 to 1, averaged over calibrations.
    `bound` is the same share for this one threshold, held with `CONFIDENCE`.
    """

    value: float
    certified_rate: float
    bound: float
    parts: int
    guarantee: str


def conformal_threshold(scores: ArrayLike, false_reject_rate: float) -> Threshold:
    """Set the threshold at the k-th smallest of N scores, k = ceil((N + 1)(1 - rate)), the largest if k > N.

    `scores` are those of good parts that were not trained on, shape `(N,)`, in any order.
    Raises CalibrationError where there is no score, one is not finite, or the rate is not between 0 and 1.
    """
    check_rate(false_reject_rate)
    ordered = np.sort(_finite(scores))
    parts = len(ordered)
    above = parts_above(parts, false_reject_rate)
    certified = (above + 1) / (parts + 1)
    bound = rate_bound(parts, above)
    return Threshold(
        value=float(ordered[parts - 1 - above]),
        certified_rate=certified,
        bound=bound,
        parts=parts,
        guarantee=_guarantee(parts, false_reject_rate, certified, bound),
    )


def check_rate(false_reject_rate: float) -> None:
    """Raise CalibrationError unless the rate is a share between 0 and 1, both excluded."""
    if not 0.0 < false_reject_rate < 1.0:
        raise CalibrationError(
            f"expected a false-reject rate between 0 and 1 (1 % is 0.01), found {false_reject_rate:g}"
        )


def parts_above(parts: int, false_reject_rate: float) -> int:
    """How many of N calibration scores may lie above the threshold: N - k, and 0 where N is too small."""
    # In floating point (N + 1)(1 - p) lands on either side of a whole number, and a wrong ceil costs the promise.
    # The fraction is that of the rate as it was written, not of its nearest double.
    allowed = math.floor((parts + 1) * _as_written(false_reject_rate))
    return max(allowed - 1, 0)


def parts_needed(false_reject_rate: float) -> int:
    """The fewest good parts that can certify a rate: N >= 1 / rate - 1."""
    return math.ceil(1 / _as_written(false_reject_rate)) - 1


def rate_bound(parts: int, above: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound on the false-reject rate of a threshold that left `above` of N scores above it, 0 to 1.

    For this one threshold the rate follows Beta(above + 1, N - above); this is its `confidence` quantile, found
    from P(Beta > x) = P(Binomial(N, x) <= above) by bisection.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _binomial_at_most(above, parts, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def explain(counts: Iterable[int] = (1, 8, 19, 24, 50, 99, 199, 299, 500, 999, 2000)) -> str:
    """A table of what N good parts certify: on average over calibrations, and for one threshold at 95 %."""
    header = "| good parts N | certified on average, 1/(N+1) | this one threshold, 95 % sure |"
    rows = [header, "|---:|---:|---:|"]
    rows += [f"| {n} | {percent(1 / (n + 1))} | {percent(rate_bound(n, 0))} |" for n in counts]
    return "\n".join(rows)


def percent(share: float) -> str:
    """A share as a percentage of three significant digits."""
    return f"{share * 100:.3g} %"


def _as_written(rate: float) -> Fraction:
    return Fraction(repr(float(rate)))


def _finite(scores: ArrayLike) -> NDArray[np.float32]:
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


def _binomial_at_most(count: int, trials: int, chance: float) -> float:
    if chance in (0.0, 1.0):
        return float(chance == 0.0 or count >= trials)
    log_choose = math.lgamma(trials + 1)
    return math.fsum(
        math.exp(
            log_choose
            - math.lgamma(hits + 1)
            - math.lgamma(trials - hits + 1)
            + hits * math.log(chance)
            + (trials - hits) * math.log1p(-chance)
        )
        for hits in range(count + 1)
    )


def _guarantee(parts: int, target: float, certified: float, bound: float) -> str:
    promise = (
        f"on average over such calibrations at most {percent(certified)} of good parts are rejected, "
        f"and by this very threshold at most {percent(bound)} with 95 % confidence"
    )
    missing = parts_needed(target) - parts
    if missing <= 0:
        return (
            f"{parts} good parts certify the target of {percent(target)}: {promise}, "
            "as long as parts, lighting and camera stay as they were."
        )
    remedy = f"{missing} more good part{'s' * (missing > 1)} ({missing + parts} in all) would certify the target."
    if parts == 1:
        return (
            f"One good part certifies next to nothing against the target of {percent(target)}: its score is the "
            f"threshold, every second good part may be rejected, and with 95 % confidence no more than "
            f"{percent(bound)} can be said. {remedy}"
        )
    return (
        f"{parts} good parts are too few for the target of {percent(target)}: the threshold is their largest score, "
        f"and {promise}. {remedy}"
    )
