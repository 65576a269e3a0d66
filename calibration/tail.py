"""The tail of good parts' scores beyond the largest of them: peaks over a level, generalised Pareto law.

An estimate. It says where a rate would lie that the parts at hand are too few to certify, if the tail goes on as it
begins, and nothing holds it to that.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# The largest tenth of the scores, and 20 of them at least: fewer give no shape.
_SHARE, _FEWEST = 0.1, 20
# Heavier than 0.5 has no variance, and from few scores such a shape is chance rather than law.
_SHAPES = (-0.5, 0.5)

# Realised rates of 2,000 draws from seven laws: from 50 parts and up to five times beyond what they certify, the mean
# was 1.3 to 2.6 times the target; beyond that it was 4 times and more, and no better than saying nothing.
FEWEST_PARTS = 50
REACH = 5


def within_reach(parts: float, false_reject_rate: float) -> bool:
    """Whether N parts, or what lots leave of them, say anything of a rate that they cannot certify."""
    return parts >= FEWEST_PARTS and parts * false_reject_rate * REACH >= 1


def tail_threshold(scores: NDArray[np.float32], false_reject_rate: float) -> float:
    """The score that a share `false_reject_rate` of good parts would exceed; `scores` are `FEWEST_PARTS` or more.

    Shape and scale come from the excesses' first two L-moments, which is steadier than maximum likelihood where there
    are few.
    """
    ordered = np.sort(scores.astype(np.float64))
    peaks = max(math.ceil(_SHARE * len(ordered)), _FEWEST)
    level = ordered[-peaks - 1]
    excesses = ordered[-peaks:] - level
    first = float(excesses.mean())
    second = 2 * float(np.mean(excesses * np.arange(peaks) / (peaks - 1))) - first
    if second <= 0:  # all excesses are the same
        return float(ordered[-1])
    shape = float(np.clip(2 - first / second, *_SHAPES))
    reach = peaks / len(ordered) / false_reject_rate
    grown = math.log(reach) if abs(shape) < 1e-9 else (reach**shape - 1) / shape
    return float(level + first * (1 - shape) * grown)
