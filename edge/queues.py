"""Bounded hand-over between two workers, with a named policy for when it is full."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Policy(str, Enum):
    """What happens when a queue is full.

    `all`: the writer waits, nothing is lost (back-pressure). `latest`: the oldest item gives way (free-running camera).
    """

    ALL = "all"
    LATEST = "latest"


class QueueClosedError(Exception):
    """The other side has gone: nothing can be put any more, or nothing is left to take."""


class BoundedQueue(Generic[Item]):
    """A queue of at most `capacity` items between threads. `on_drop` is called once for every item that gave way.

    Under `all` no item ever does.
    """

    def __init__(self, capacity: int, policy: Policy, on_drop: Callable[[Item], None] | None = None) -> None:
        self._capacity = capacity
        self._policy = policy
        self._on_drop = on_drop
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item) -> None:
        """Append an item; under `all` wait for room. Raises QueueClosedError, also while it waits."""
        evicted: list[Item] = []
        with self._changed:
            if self._policy is Policy.ALL:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if self._closed:
                raise QueueClosedError
            while len(self._items) >= self._capacity:
                evicted.append(self._items.popleft())
            self._items.append(item)
            self._changed.notify_all()
        if self._on_drop is not None:
            for old in evicted:
                self._on_drop(old)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Whether an item can be put without waiting, after `timeout_s` at most. Raises QueueClosedError."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity, timeout_s)
            if self._closed:
                raise QueueClosedError
            return len(self._items) < self._capacity

    def wait_for_item(self, timeout_s: float) -> bool:
        """Whether there is one to take, after `timeout_s` at most. Raises QueueClosedError once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), timeout_s)
            if self._closed and not self._items:
                raise QueueClosedError
            return bool(self._items)

    def get_if(self, wanted: Callable[[Item], bool]) -> Item | None:
        """Take the oldest item if it is `wanted`; never waits."""
        with self._changed:
            if not self._items or not wanted(self._items[0]):
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def get(self, timeout_s: float) -> Item | None:
        """Take the oldest item, or None after `timeout_s`. Raises QueueClosedError once it is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), timeout_s)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._closed:
                raise QueueClosedError
            return None

    def close(self) -> None:
        """Refuse further items; those inside can still be taken. Calling it twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)
