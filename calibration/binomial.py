"""What a count of parts says about a share of all parts: exact bounds from the binomial law, without scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

CONFIDENCE = 0.95


def rate_bound(parts: int, above: int, confidence: float = CONFIDENCE) -> float:
    """Upper bound on the false-reject rate of a threshold that left `above` of N scores above it, 0 to 1.

    For this one threshold the rate follows Beta(above + 1, N - above); this is its `confidence` quantile, found
    from P(Beta > x) = P(Binomial(N, x) <= above).
    """
    return _root(lambda rate: at_most(above, parts, rate) - (1 - confidence))


def proportion_interval(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share of which `hits` of `trials` were seen; the ends are shares, 0 to 1."""
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else _root(lambda rate: at_most(hits - 1, trials, rate) - (1 - tail))
    high = 1.0 if hits == trials else _root(lambda rate: at_most(hits, trials, rate) - tail)
    return low, high


def at_most(count: int, trials: int, chance: float) -> float:
    """P(Binomial(trials, chance) <= count)."""
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


def _root(falling: Callable[[float], float]) -> float:
    """Where a function of a share falls to zero, by bisection, rounded up."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return high
