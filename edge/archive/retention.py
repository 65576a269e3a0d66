"""What goes when the archive has grown too large or too old: the oldest first, and rejects last.

By age, every part goes that was captured before the limit. By size, parts that are OK go, the oldest first, pictures or
not; only when none of them is left do those go that are not OK, again the oldest first. So however many good parts
there are, they cost no reject, and an archive that is full of rejects holds no good part.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from edge.archive.store import ArchiveStore
from edge.verdict import Evaluation

# Below the limit by so much once something had to go, so that not every part costs a deletion.
SLACK = 0.005
_A_STEP = 500
_STEPS = 20


class Retention:
    """Holds an archive to `max_bytes`, index and all, and to `max_age` where there is one."""

    def __init__(
        self,
        max_bytes: int,
        max_age: timedelta | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.max_bytes = max_bytes
        self._max_age = max_age
        self._clock = clock

    def apply(self, store: ArchiveStore) -> int:
        """Remove what has to go, as much as takes about a second, and return how many parts. Raises as the store."""
        return self._remove_old(store) + self._remove_excess(store)

    def _remove_old(self, store: ArchiveStore) -> int:
        if self._max_age is None:
            return 0
        limit = self._clock() - self._max_age
        return sum(store.remove(store.oldest(each, _A_STEP, limit)) for each in Evaluation)

    def _remove_excess(self, store: ArchiveStore) -> int:
        removed = 0
        if store.room().total <= self.max_bytes:
            return 0
        for _ in range(_STEPS):
            excess = store.room().total - round(self.max_bytes * (1 - SLACK))
            gone = store.remove(store.first_to_go(excess, _A_STEP)) if excess > 0 else 0
            removed += gone
            if not gone:
                break
        return removed
