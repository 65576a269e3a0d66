"""The last verdicts of the session, kept so that a reader who missed some can ask for them again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice


class ReplayRing:
    """The last `capacity` encoded verdicts, numbered without a gap. Safe to use from every thread."""

    def __init__(self, capacity: int) -> None:
        self._messages: deque[bytes] = deque(maxlen=capacity)
        self._lock = threading.Lock()
        self._last_seq = 0

    def append(self, seq: int, message: bytes) -> None:
        """Keep one more; the oldest makes room. Raises ValueError unless `seq` follows the last one kept."""
        with self._lock:
            if seq != self._last_seq + 1:
                raise ValueError(f"expected verdict {self._last_seq + 1} next, found {seq}")
            self._messages.append(message)
            self._last_seq = seq

    def since(self, first: int, last: int, limit_bytes: int) -> tuple[int, Sequence[bytes]]:
        """Return the verdicts of `first` to `last` that are still kept, from the oldest on, and that one's number.

        They end before they take more than `limit_bytes`, but at least one is returned where there is one: whoever
        asks goes on from there. Where none is kept, the number is that of the oldest which is.
        """
        with self._lock:
            oldest = self._last_seq - len(self._messages) + 1
            start = max(first, oldest)
            kept = list(islice(self._messages, start - oldest, max(last + 1 - oldest, 0)))
        return (start if kept else oldest), _within(kept, limit_bytes)


def _within(messages: Sequence[bytes], limit_bytes: int) -> Sequence[bytes]:
    total = 0
    for index, message in enumerate(messages):
        total += len(message)
        if total > limit_bytes:
            return messages[: max(index, 1)]
    return messages
