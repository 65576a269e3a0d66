"""Where triggers come in, from whatever thread, on their way to the camera."""

from __future__ import annotations

import threading
import time
from collections import deque

from edge.triggers import Trigger
from engines.errors import InspectError


class TriggerRefusedError(InspectError):
    """A trigger that nobody will carry out. No part counts as promised."""


class Inbox:
    """Numbers triggers from 1 in the order they come, and keeps them until the camera's own thread takes them.

    Closed to begin with: a trigger that is accepted is a promise of one verdict.
    """

    def __init__(self) -> None:
        self._triggers: deque[Trigger] = deque()
        self._changed = threading.Condition()
        self._refusal = "the camera is not armed yet"
        self._last_id = 0

    def open(self) -> None:
        """Accept triggers from now on."""
        with self._changed:
            self._refusal = ""

    def close(self, refusal: str) -> None:
        """Accept no further trigger, for that reason; those inside can still be taken."""
        with self._changed:
            self._refusal = refusal

    def post(self, part_id: str | None, encoder: int | None) -> Trigger:
        """Accept a trigger of this moment. Raises TriggerRefusedError while it is closed."""
        with self._changed:
            if self._refusal:
                raise TriggerRefusedError(f"no trigger is taken: {self._refusal}")
            self._last_id += 1
            trigger = Trigger(self._last_id, time.monotonic_ns(), time.time(), part_id, encoder)
            self._triggers.append(trigger)
            self._changed.notify_all()
            return trigger

    def wait(self, timeout_s: float) -> None:
        """Wait until a trigger is inside, `timeout_s` at most."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._triggers), timeout_s)

    def take(self) -> Trigger | None:
        """Take the oldest trigger, or None where none is inside."""
        with self._changed:
            return self._triggers.popleft() if self._triggers else None
