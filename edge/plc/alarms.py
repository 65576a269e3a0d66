"""What tells a wrong line from a wrong part: too many defective parts in a row, or too many of the latest."""

from __future__ import annotations

from collections import deque

from edge.verdict import Evaluation


class Lockout:
    """Locks after `limit` parts in a row that were NotOK, until an operator resets it. A limit of 0 never locks.

    NotDecidable does not count: such faults go by themselves, and must not need a hand afterwards.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_row = 0
        self.locked = False

    def note(self, evaluation: Evaluation) -> None:
        """Count one part that has left the belt."""
        if evaluation is Evaluation.OK:
            self._in_row = 0
        elif evaluation is Evaluation.NOT_OK:
            self._in_row += 1
        if self._limit and self._in_row >= self._limit:
            self.locked = True

    def reset(self) -> None:
        """The operator has looked."""
        self.locked = False
        self._in_row = 0


class RateAlarm:
    """Rings while more than the share `limit` of the latest `window` parts was rejected, for whatever reason."""

    def __init__(self, limit: float, window: int) -> None:
        self._limit = limit
        self._rejected: deque[bool] = deque(maxlen=window)

    def note(self, evaluation: Evaluation) -> None:
        """Count one part that has left the belt."""
        self._rejected.append(evaluation is not Evaluation.OK)

    @property
    def rings(self) -> bool:
        """Whether the share is too large. A window that is not full yet says nothing."""
        full = len(self._rejected) == self._rejected.maxlen
        return full and sum(self._rejected) > self._limit * len(self._rejected)
