"""The output that sorts: on for a set time from the moment at which a part is in front of it."""

from __future__ import annotations

import math
from typing import Literal

from edge.plc.conveyor import Ruling


class Ejector:
    """Decides the level of one output. Moments are monotonic, in seconds.

    `fire="reject"`: a pulse pushes a rejected part out. `fire="release"`: a pulse lets a released part pass, and
    whatever comes without one is rejected, unknown parts and those of a dead gateway too.
    """

    def __init__(self, fire: Literal["reject", "release"], pulse_s: float) -> None:
        self._releases = fire == "release"
        self._pulse_s = pulse_s
        self._until = -math.inf

    def meet(self, ruling: Ruling, now: float) -> None:
        """A part is in front of the ejector."""
        if ruling.released == self._releases:
            self._until = now + self._pulse_s
        elif self._releases:
            # It must not slip through in the pulse of the part before it.
            self._until = now

    def level(self, now: float) -> bool:
        """Whether the output is on."""
        return now < self._until

    def overrun(self, now: float) -> float:
        """How long ago the latest pulse was to end, in seconds; infinity where there was none."""
        return now - self._until

    def next_change(self, now: float) -> float:
        """When the output goes off by itself; infinity while it is off."""
        return self._until if self.level(now) else math.inf
