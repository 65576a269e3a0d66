"""Labelled defects: how many of them a threshold lets through, and the threshold that costs least.

The false-reject cap stays a constraint: costs may raise the threshold that good parts set, never lower it. A share of
defects found on the very defects that chose the threshold flatters it, so where costs choose, every second defect
chooses and the others count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.binomial import proportion_interval
from engines.bundle import Escapes
from engines.errors import CalibrationError


@dataclass(frozen=True)
class Costs:
    """What a wrong verdict costs: `escape` as many times as a false reject, where `defect_rate` of parts are defective.

    The rate, between 0 and 1, is production's, not that of a collection of photographs.
    """

    escape: float
    defect_rate: float

    def check(self) -> None:
        """Raise CalibrationError where a number makes no sense."""
        if not self.escape > 0 or not 0 < self.defect_rate < 1:
            raise CalibrationError(
                "expected an escape to cost more than 0 false rejects and a defect rate between 0 and 1, found "
                f"{self.escape:g} and {self.defect_rate:g}"
            )


def cheapest_threshold(good: NDArray[np.float32], defects: NDArray[np.float32], costs: Costs) -> float:
    """Return the score that costs least as a threshold, the largest one where several do.

    Minimises (1 - rate) x false rejects + escape cost x rate x escapes, both as shares of `good` and of `defects`.
    """
    candidates = np.unique(np.concatenate([good, defects]))
    rejected = 1 - np.searchsorted(np.sort(good), candidates, side="right") / len(good)
    escaped = np.searchsorted(np.sort(defects), candidates, side="right") / len(defects)
    cost = (1 - costs.defect_rate) * rejected + costs.escape * costs.defect_rate * escaped
    return float(candidates[np.flatnonzero(cost <= cost.min() * (1 + 1e-12))[-1]])


def weigh(
    good: NDArray[np.float32], defects: NDArray[np.float32], threshold: float, costs: Costs | None
) -> tuple[float, Escapes]:
    """Raise `threshold` to the cheapest one where `costs` want that, and count what escapes it.

    Raises CalibrationError where there are fewer than two defects to choose and to count with.
    """
    if costs is None:
        return threshold, count_escapes(defects, threshold)
    costs.check()
    if len(defects) < 2:
        raise CalibrationError(f"expected at least 2 defects to weigh costs with, found {len(defects)}")
    cheapest = cheapest_threshold(good, defects[::2], costs)
    chosen = max(threshold, cheapest)
    counted = count_escapes(defects[1::2], chosen)
    return chosen, Escapes(
        parts=counted.parts,
        escaped=counted.escaped,
        interval=counted.interval,
        escape_cost=costs.escape,
        defect_rate=costs.defect_rate,
        cheapest=cheapest,
        escaped_at_cheapest=int(np.sum(defects[1::2] <= np.float32(cheapest))),
    )


def count_escapes(defects: NDArray[np.float32], threshold: float) -> Escapes:
    """How many defects score no more than `threshold`, and the 95 % interval of that share."""
    escaped = int(np.sum(defects <= np.float32(threshold)))
    return Escapes(len(defects), escaped, proportion_interval(escaped, len(defects)))
