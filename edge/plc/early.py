"""Opinions on parts that have not been seen at the sensor yet: the PLC is asked in turns, verdicts come at once."""

from __future__ import annotations

from collections import deque

from edge.plc.conveyor import Opinion


class EarlyOpinions:
    """Keeps opinions for `patience_s`, at most `capacity` of them. Times are monotonic, in seconds.

    The patience is short, because numbers come again: after a restart of the PLC an old word must find no new part.
    """

    def __init__(self, patience_s: float, capacity: int = 1000) -> None:
        self._patience_s = patience_s
        self._kept: deque[tuple[float, Opinion]] = deque()
        self._capacity = capacity

    def keep(self, opinion: Opinion, now: float) -> list[Opinion]:
        """Keep one opinion; return those that had to give way to it."""
        self._kept.append((now + self._patience_s, opinion))
        return [self._kept.popleft()[1] for _ in range(len(self._kept) - self._capacity)]

    def take(self, number: int, now: float) -> list[Opinion]:
        """Hand out what was said of a part, in the order it was said."""
        found = [opinion for until, opinion in self._kept if opinion.number == number and until > now]
        self._kept = deque(item for item in self._kept if item[1].number != number)
        return found

    def expire(self, now: float) -> list[Opinion]:
        """Forget the opinions whose part did not come, and return them."""
        gone = []
        while self._kept and self._kept[0][0] <= now:
            gone.append(self._kept.popleft()[1])
        return gone
