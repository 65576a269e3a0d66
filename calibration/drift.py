"""Drift: whether parts or pictures have slowly become others, told from many verdicts, none of which it changes.

Each watch counts one kind of event (a part rejected, a score among the calibration's highest or lowest tenth, a guard's
number among its highest tenth) and runs Wald's sequential test of two rates of it, started again whenever it decides
for the usual one: a CUSUM. How many parts an alarm takes, and how many pass before a false one, follow from the design
and are computed, not tuned.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from calibration.binomial import rate_bound
from engines.bundle import Calibration

# Parts between two false alarms of one watch, where nothing has changed: at one part a second, a day.
PARTS_TO_FALSE_ALARM = 86_400
# A tenth of the calibration's scores at either end: enough parts to see a shift soon, and enough below the threshold.
TAIL = 0.1
_RAISED = 2.0
_OF_SCORES = ("rejects", "scores_high", "scores_low")
_LEAST_RATE = 0.01
_STEPS = 120


@dataclass(frozen=True)
class Design:
    """A test between the usual rate of an event and a raised one; `limit` is where the sum of evidence alarms.

    `parts_to_alarm` is the mean number of parts from the moment that the rate is the raised one, `parts_to_false_alarm`
    the mean number at the usual rate.
    """

    usual: float
    raised: float
    limit: float
    parts_to_alarm: float
    parts_to_false_alarm: float

    @property
    def hit(self) -> float:
        """What the sum gains with an event: the log-likelihood ratio of the two rates."""
        return math.log(self.raised / self.usual)

    @property
    def miss(self) -> float:
        """What it gains without one, below 0."""
        return math.log1p(-self.raised) - math.log1p(-self.usual)


@functools.lru_cache(maxsize=32)
def design(usual: float, raised: float, parts_to_false_alarm: float = PARTS_TO_FALSE_ALARM) -> Design:
    """Design a test whose false alarms come at least `parts_to_false_alarm` parts apart on average.

    Raises ValueError unless 0 < usual < raised < 1.
    """
    if not 0 < usual < raised < 1:
        raise ValueError(f"expected rates 0 < usual < raised < 1, found {usual} and {raised}")
    low, high = 0.5, 40.0
    while high - low > 0.05:
        middle = (low + high) / 2
        if average_run_length(usual, Design(usual, raised, middle, 0, 0)) < parts_to_false_alarm:
            low = middle
        else:
            high = middle
    test = Design(usual, raised, high, 0, 0)
    return Design(
        usual,
        raised,
        high,
        parts_to_alarm=average_run_length(raised, test),
        parts_to_false_alarm=average_run_length(usual, test),
    )


def average_run_length(rate: float, test: Design) -> float:
    """Mean number of parts to an alarm, from a sum of 0, where events come at `rate`.

    The sum is a Markov chain; on a grid of its values the mean is the solution of a linear system (Brook and Evans,
    1972, "An approach to the probability distribution of CUSUM run length").
    """
    width = test.limit / _STEPS
    transition = np.zeros((_STEPS, _STEPS))
    for step in range(_STEPS):
        for gain, chance in ((test.hit, rate), (test.miss, 1 - rate)):
            # A sum between two grid points is shared between them, which keeps its mean.
            place = max(step * width + gain, 0.0) / width
            below, share = int(place), place - int(place)
            for target, weight in ((below, 1 - share), (below + 1, share)):
                if target < _STEPS:
                    transition[step, target] += chance * weight
    return float(np.linalg.solve(np.eye(_STEPS) - transition, np.ones(_STEPS))[0])


def parts_in_tail(parts: int) -> int:
    """How many of N calibration parts may lie beyond the level of a tail; below 0 where N is too small for one."""
    return int(TAIL * (parts + 1)) - 1


class Watch:
    """One running test. The alarm stays until the sum is back at 0."""

    def __init__(self, name: str, test: Design) -> None:
        self.name = name
        self.design = test
        self.alarm = False
        self._sum = 0.0

    @property
    def level(self) -> float:
        """The sum as a share of the limit, 0 to 1."""
        return self._sum / self.design.limit

    def count(self, event: bool) -> None:
        """Take one part into account."""
        gain = self.design.hit if event else self.design.miss
        self._sum = min(max(self._sum + gain, 0.0), self.design.limit)
        self.alarm = self._sum >= self.design.limit or (self.alarm and self._sum > 0)


@dataclass(frozen=True)
class Plan:
    """What is watched over the parts of one calibration: tests by name, and the scores beyond which parts count."""

    tests: dict[str, Design]
    high: float
    low: float

    @classmethod
    def of(cls, calibration: Calibration) -> Plan:
        """Plan the watches: rejects, and, where the calibration kept its scores, both ends of these and the guards."""
        # Twice the certified rate leaves room for the usual share of defects.
        reject = max(calibration.certified_rate, _LEAST_RATE)
        tests = {"rejects": design(min(2 * reject, 0.4), min(8 * reject, 0.8))}
        scores = np.asarray(calibration.scores, np.float32)
        above = parts_in_tail(len(scores))
        if above < 0:
            return cls(tests, math.inf, -math.inf)
        # The rate at which scores pass a level is not known better than the parts at hand tell.
        usual = rate_bound(len(scores), above)
        tail = design(usual, min(_RAISED * usual, (1 + usual) / 2))
        tests |= dict.fromkeys(("scores_high", "scores_low", *(guard.name for guard in calibration.guards)), tail)
        return cls(tests, high=float(scores[len(scores) - 1 - above]), low=float(scores[above]))


class Drift:
    """The running watches of one plan, over the parts of one camera."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.watches = tuple(Watch(name, test) for name, test in plan.tests.items())

    def count(self, score: float | None, rejected: bool, unusual: Collection[str] = ()) -> None:
        """Take one picture into account: its score, where it can be trusted, and the guards that found it `unusual`."""
        scored = {} if score is None else self._scored(score, rejected)
        for watch in self.watches:
            if watch.name not in _OF_SCORES:
                watch.count(watch.name in unusual)
            elif watch.name in scored:
                watch.count(scored[watch.name])

    def _scored(self, score: float, rejected: bool) -> dict[str, bool]:
        return {"rejects": rejected, "scores_high": score > self._plan.high, "scores_low": score < self._plan.low}

    @property
    def alarms(self) -> list[str]:
        """Names of the watches that alarm now."""
        return [watch.name for watch in self.watches if watch.alarm]
