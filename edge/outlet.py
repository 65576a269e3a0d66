"""The way of one camera's judgements to the publisher, which can be shut behind a thread that hangs."""

from __future__ import annotations

from edge.inspector import Judgement
from edge.queues import BoundedQueue


class Outlet:
    """Hands judgements on until it is shut: then `put` does nothing, so that a part has no second verdict."""

    def __init__(self, judgements: BoundedQueue[Judgement]) -> None:
        self.shut = False
        self._judgements = judgements

    def put(self, judgement: Judgement) -> None:
        """Hand on a judgement as long as it is open; waits for room. Raises QueueClosedError."""
        if not self.shut:
            self._judgements.put(judgement)

    def put_last(self, judgement: Judgement) -> None:
        """Hand on a judgement that was made after it was shut, of a part that nobody else will judge."""
        self._judgements.put(judgement)
