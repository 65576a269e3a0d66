"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random

# Jitter, so that many stations do not knock on one returning switch at the same moment.
_LEAST_SHARE = 0.8


class Backoff:
    """Pauses in seconds that double from `first_s` up to `longest_s`, each shortened by up to a fifth at random."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = min(first_s, longest_s)
        self._longest_s = longest_s
        self._pause_s = self._first_s

    def next(self) -> float:
        """The pause after one more failure."""
        pause_s = self._pause_s
        self._pause_s = min(pause_s * 2, self._longest_s)
        return pause_s * random.uniform(_LEAST_SHARE, 1.0)

    def reset(self) -> None:
        """It works again: begin anew with the shortest pause."""
        self._pause_s = self._first_s
