"""Control charts: moving averages of the guards' signed numbers, for what stays and hides in one picture.

Where good parts lie anywhere within a tenth of the picture, one picture cannot tell that the camera has moved by a
twentieth; the mean place of sixteen can. Each chart looks at several windows at once, so that a large fault is found by
the short ones, and a small one by the long ones. Limits come from good parts (`chart_fitting.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engines.bundle import Chart, Guard

WINDOWS = (4, 8, 16, 32)
_LENGTHS = np.asarray(WINDOWS)[:, None]
_LAST = np.asarray(WINDOWS) - 1
_AGAIN = 0.1
"""A picture whose numbers all lie within so many spreads of the last one's shows the same part again."""
_RELEASE = 0.5

Array = NDArray[np.float64]

_DEVIATIONS: Mapping[str, Callable[[Array], Array]] = {
    "light_changed": lambda means: np.abs(means[..., 0]),
    "blurred": lambda means: means.max(axis=-1),
    "camera_moved": lambda means: np.hypot(means[..., 0], means[..., 1]),
}
CHARTED = tuple(_DEVIATIONS)
"""The guards that have a chart."""

_SIDES = (("left", "right"), ("above", "below"))
_LOOK_AT = {
    "light_changed": "light and exposure",
    "blurred": "the lens, its focus and dirt on it",
    "camera_moved": "the camera and the fixture",
}


def deviation(guard: str, means: Array) -> Array:
    """How far means `(..., K)` of a guard's standardised numbers lie from good parts', in spreads, `(...)`."""
    return _DEVIATIONS[guard](means)


class ControlChart:
    """The running chart of one guard.

    `window` is how many parts it alarms about, 0 where it does not, and `objection` then says why no part is judged.
    `level` is the largest mean as a share of its window's limit, while it alarms that of `window`.
    """

    def __init__(self, guard: str, chart: Chart) -> None:
        self.guard = guard
        self.window = 0
        self.level = 0.0
        self.objection = ""
        self._farthest = chart.farthest
        self._centre, self._spread = np.asarray(chart.centre), np.asarray(chart.spread)
        self._units, self._limits = np.asarray(chart.units), np.asarray(chart.limits)
        self._recent = np.zeros((WINDOWS[-1], len(chart.centre)))  # the last part first
        self._parts = 0

    def standardise(self, numbers: ArrayLike) -> Array:
        """A part's numbers in spreads from the centre, at most as far as one part counts."""
        return np.clip((numbers - self._centre) / self._spread, -self._farthest, self._farthest)

    def count(self, standardised: Array) -> None:
        """Take one part into account.

        The alarm stays until the mean of as many parts as raised it is back within half the limit. What came before
        those is forgotten then.
        """
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = standardised
        self._parts = min(self._parts + 1, WINDOWS[-1])
        full = bisect_right(WINDOWS, self._parts)
        if not full:
            return
        means = self._recent.cumsum(axis=0)[_LAST[:full]] / _LENGTHS[:full]
        levels = deviation(self.guard, means) / self._limits[:full]
        if not self.window and levels.max() > 1:
            self.window = WINDOWS[int((levels > 1).argmax())]
        elif self.window and self._is_over(levels):
            self._parts, self.window = self.window, 0
        place = WINDOWS.index(self.window) if self.window else int(levels.argmax())
        self.level = float(levels[place])
        self.objection = self._reason(means[place], self._limits[place]) if self.window else ""

    def _is_over(self, levels: Array) -> bool:
        place = WINDOWS.index(self.window)
        return bool(levels[place] <= _RELEASE and (levels[:place] <= 1).all())

    def _reason(self, mean: Array, limit: float) -> str:
        found = self._found(mean * self._units, limit * self._units)
        return f"guard {self.guard}: over the last {self.window} parts {found}: look at {_LOOK_AT[self.guard]}"

    def _found(self, mean: Array, limit: Array) -> str:
        if self.guard == "light_changed":
            side = "brighter" if mean[0] > 0 else "darker"
            return f"the pictures are {abs(mean[0]):.2g} stops {side} than those of good parts (limit {limit[0]:.2g})"
        if self.guard == "blurred":
            usual, worst = np.exp(limit[mean.argmax()]), np.exp(mean.max())
            return f"a part of the picture has 1/{worst:.2g} of the usual detail (limit 1/{usual:.2g})"
        axis = int(np.abs(mean / self._units).argmax())
        side = _SIDES[axis][int(mean[axis] > 0)]
        beside = f"{abs(mean[axis]):.1%} of the picture {side}{' of' if axis == 0 else ''}"
        return f"the part lies {beside} its usual place (limit {limit[axis]:.1%})"


class ControlCharts:
    """The running charts of one camera and one calibration."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self.charts = tuple(ControlChart(guard.name, guard.chart) for guard in guards if guard.chart is not None)
        self._last: Array | None = None

    def count(self, signed: Mapping[str, ArrayLike]) -> None:
        """Take one picture into account, by guard its signed numbers. The same picture again is no other part."""
        standardised = [chart.standardise(signed[chart.guard]) for chart in self.charts]
        flat = np.concatenate([*standardised, []])
        if self._last is not None and np.abs(flat - self._last).max(initial=0.0) <= _AGAIN:
            return
        self._last = flat
        for chart, numbers in zip(self.charts, standardised, strict=True):
            chart.count(numbers)

    @property
    def objection(self) -> str:
        """Why no part is judged now, by the first chart that alarms; empty where none does."""
        return next((chart.objection for chart in self.charts if chart.window), "")
