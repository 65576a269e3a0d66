"""A clock for whatever takes one, so that a test waits for nothing."""

from __future__ import annotations


class Clock:
    """A monotonic clock that the test turns."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now
