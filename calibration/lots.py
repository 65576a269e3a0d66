"""Production lots among good parts' scores: parts of one lot resemble each other, and count for less than they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Lots:
    """Scores `(N,)`, ascending, and the lot of each as a number from 0 to `count` - 1.

    Where lots are not `known`, every part is one of its own.
    """

    scores: NDArray[np.float32]
    lot: NDArray[np.intp]
    count: int
    known: bool

    @classmethod
    def of(cls, scores: NDArray[np.float32], names: Sequence[str] | None = None) -> Lots:
        """Order scores `(N,)`; `names` are the lots of the parts, in the scores' order."""
        order = np.argsort(scores, kind="stable")
        if names is None:
            return cls(scores[order], np.arange(len(scores)), len(scores), False)
        distinct, lot = np.unique(np.asarray(names, str), return_inverse=True)
        return cls(scores[order], lot[order], len(distinct), True)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return len(self.scores)

    @cached_property
    def sizes(self) -> NDArray[np.intp]:
        """Parts of each lot."""
        return np.bincount(self.lot, minlength=self.count)

    @property
    def maxima(self) -> NDArray[np.float32]:
        """The largest score of each lot, ascending."""
        largest = np.full(self.count, -np.inf, np.float32)
        np.maximum.at(largest, self.lot, self.scores)
        return np.sort(largest)

    @property
    def effective_parts(self) -> float:
        """As how many independent parts these count: N / (1 + (m - 1) ICC), m parts a lot (Kish's design effect).

        The share of the scores' variance that lies between lots, ICC, comes from a one-way analysis of variance.
        """
        parts, count = self.parts, self.count
        if not self.known or count == parts:
            return float(parts)
        if count == 1:
            return 1.0
        means = np.bincount(self.lot, self.scores.astype(np.float64)) / self.sizes
        within = float(np.sum((self.scores - means[self.lot]) ** 2)) / (parts - count)
        between = float(np.sum(self.sizes * (means - self.scores.mean(dtype=np.float64)) ** 2)) / (count - 1)
        size = (parts - float(np.sum(self.sizes**2)) / parts) / (count - 1)
        variance = between + (size - 1) * within
        correlation = (between - within) / variance if variance > 0 else 0.0
        return parts / (1 + (size - 1) * min(max(correlation, 0.0), 1.0))

    def leave_above(self, weight: Fraction) -> tuple[float, float]:
        """Return the lowest score that leaves at most `weight` above it, where all parts of a lot weigh 1 together.

        Returns the score and the weight above it; the largest and 0 where not even one part may lie above.
        """
        above = np.cumsum(1.0 / self.sizes[self.lot[::-1]])
        allowed = int(np.searchsorted(above, float(weight), side="right"))
        allowed = min(allowed, self.parts - 1)
        return float(self.scores[self.parts - 1 - allowed]), float(above[allowed - 1]) if allowed else 0.0

    def resampled(self, rng: np.random.Generator) -> Lots:
        """As many lots drawn again with replacement, each with all of its parts."""
        times = np.bincount(rng.integers(0, self.count, self.count), minlength=self.count)
        again = times[self.lot]
        scores = np.repeat(self.scores, again)
        if not self.known:
            return Lots(scores, np.arange(self.count), self.count, False)
        # A lot that was drawn twice is two lots.
        copy = np.concatenate([np.arange(number) for number in again]) if len(again) else np.empty(0, np.intp)
        names = np.repeat(self.lot, again) * (self.count + 1) + copy
        return Lots(scores, np.unique(names, return_inverse=True)[1], self.count, True)
