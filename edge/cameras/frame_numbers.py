"""Numbers of frames as cameras count them, which begin again, made into ones that never do."""

from __future__ import annotations

# GigE Vision 1.x counts frames in 16 bit and leaves out 0. Its longer numbers come out right by it, too.
GIGE_CYCLE = 65535


class FrameNumbers:
    """Unwraps numbers that run from 1 to `cycle` and then from 1 again (GigE Vision: GIGE_CYCLE).

    With the `cycle` 0 numbers never begin again. A number up to half a cycle ahead is ahead, any other one is behind.
    """

    def __init__(self, cycle: int) -> None:
        self._cycle = cycle
        self._latest: int | None = None

    def unwrap(self, number: int) -> tuple[int, int]:
        """The number that never begins again, and how many before it never came; none before the first one."""
        latest = self._latest
        if latest is None:
            self._latest = number
            return number, 0
        step = number - latest
        if self._cycle:
            step = step % self._cycle
            step = step if step <= self._cycle // 2 else step - self._cycle
        self._latest = max(latest, latest + step)
        return latest + step, max(step - 1, 0)
