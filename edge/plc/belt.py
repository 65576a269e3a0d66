"""How far the belt has moved: by an encoder, or by the clock where its speed is constant."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque

# Speed is taken over so long: longer than the jitter of one reading, shorter than a belt needs to change its speed.
_SPEED_WINDOW_S = 0.1
# Without a new reading the belt is believed to go on at its speed for so long, and then to stand.
_EXTRAPOLATE_S = 0.2


class Belt(ABC):
    """Turns moments into positions and back. Moments are monotonic, in seconds."""

    @abstractmethod
    def position(self, now: float) -> float:
        """Where the belt is at a moment, in the unit of the travel to the ejector."""

    @abstractmethod
    def moment(self, position: float, now: float) -> float:
        """When the belt was or will be at a position if it goes at its speed of now; infinity ahead while it stands."""


class TimedBelt(Belt):
    """A belt of constant speed that never stops: its position is the clock itself, in seconds."""

    def position(self, now: float) -> float:
        """The moment itself."""
        return now

    def moment(self, position: float, now: float) -> float:
        """The position itself."""
        return position


class EncoderBelt(Belt):
    """A belt with an incremental encoder whose counter of `bits` bits wraps around.

    Between two readings the position goes on at the speed of the latest ones.
    """

    def __init__(self, bits: int = 32) -> None:
        self._modulus = 1 << bits
        self._readings: deque[tuple[float, float]] = deque()

    @property
    def known(self) -> bool:
        """Whether there has been a reading."""
        return bool(self._readings)

    def note(self, count: int, now: float) -> float:
        """Take a reading of the counter; return the position it means, which is the way of the unwrapped counter."""
        at = self.unwrapped(count)
        self._readings.append((now, at))
        while len(self._readings) > 2 and now - self._readings[1][0] >= _SPEED_WINDOW_S:
            self._readings.popleft()
        return at

    def unwrapped(self, count: int) -> float:
        """The position that a value of the counter means, taken as the one nearest to the latest reading."""
        if not self._readings:
            return float(count)
        latest = self._readings[-1][1]
        half = self._modulus // 2
        return latest + (count - int(latest) + half) % self._modulus - half

    def position(self, now: float) -> float:
        """Where the belt is, in counts."""
        if not self._readings:
            return -math.inf
        at, position = self._readings[-1]
        return position + self._speed() * min(max(now - at, 0.0), _EXTRAPOLATE_S)

    def moment(self, position: float, now: float) -> float:
        """When the belt was or will be there."""
        left, speed = position - self.position(now), self._speed()
        if speed > 0:
            return now + left / speed
        return math.inf if left > 0 else now

    def _speed(self) -> float:
        if not self._readings:
            return 0.0
        (first, start), (last, end) = self._readings[0], self._readings[-1]
        return max((end - start) / (last - first), 0.0) if last > first else 0.0
