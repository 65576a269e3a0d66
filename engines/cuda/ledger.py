"""What is held on a GPU and not given back yet: counted, so that a test finds a leak before the night shift does."""

from __future__ import annotations

from collections import Counter
from threading import Lock


class Ledger:
    """Counts what is held, by kind. Threads may share it."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def held(self) -> dict[str, int]:
        """How many of each kind are held; empty once everything was given back."""
        with self._lock:
            return {kind: count for kind, count in sorted(self._counts.items()) if count}

    def took(self, kind: str) -> None:
        """Count one more."""
        with self._lock:
            self._counts[kind] += 1

    def gave_back(self, kind: str) -> None:
        """Count one less. Raises ValueError where none is held: something was given back twice."""
        with self._lock:
            if not self._counts[kind]:
                raise ValueError(f"a {kind} was given back, but none is held")
            self._counts[kind] -= 1
