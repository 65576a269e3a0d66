"""Shares an engine among cameras in the order in which they came, so that a busy one cannot crowd out the others."""

from __future__ import annotations

import threading
from collections import deque


class Ticket:
    """A place in the queue before an engine, or inside."""


class Turnstile:
    """Lets `capacity` tickets in at a time, first come, first served."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free = capacity
        self._queue: deque[Ticket] = deque()
        self._changed = threading.Condition()

    def queue(self) -> Ticket:
        """Take a place at the end of the queue."""
        ticket = Ticket()
        with self._changed:
            self._queue.append(ticket)
        return ticket

    def enter(self, ticket: Ticket, timeout_s: float) -> bool:
        """Whether the ticket is inside, after `timeout_s` at most. One that is not keeps its place in the queue."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free > 0 and self._queue[0] is ticket, timeout_s):
                return False
            self._queue.popleft()
            self._free -= 1
            self._changed.notify_all()
            return True

    def give_up(self, ticket: Ticket) -> None:
        """Leave the queue without having been inside. Harmless for a ticket that is not in it."""
        with self._changed:
            if ticket in self._queue:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def leave(self) -> None:
        """Make room for the next one."""
        with self._changed:
            self._free += 1
            self._changed.notify_all()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Whether nobody is inside or queues, after `timeout_s` at most."""
        with self._changed:
            return self._changed.wait_for(lambda: self._free == self._capacity and not self._queue, timeout_s)
