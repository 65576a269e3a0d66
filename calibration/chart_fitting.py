"""Limits of control charts from good parts: how far means of them stray by chance, and by lots.

All is done with numbers that the guards' model gave parts which it had not seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from calibration.charts import CHARTED, WINDOWS, deviation
from calibration.drift import PARTS_TO_FALSE_ALARM
from engines.bundle import Chart

# Good parts in random order between two alarms of one chart; all charts together alarm as rarely as one drift watch.
PARTS_BETWEEN = len(CHARTED) * PARTS_TO_FALSE_ALARM
# Means below these shares of what a guard is for do not stop a line: half of a 5 % shift, half of halved light, and of
# a blurred quarter a tenth of what blurs it by 1 % of the side (in logarithms), which is a fingerprint.
_RELEVANT = {"light_changed": 0.5, "blurred": 0.1, "camera_moved": 0.5}
# Parts that are more alike than this (stops, logarithms of detail, shares of the picture) are so by luck.
_LEAST_SPREAD = {"light_changed": 0.02, "blurred": 0.05, "camera_moved": 0.002}
# Before limits are known one part counts at most so many spreads, or as much as what the guard is for.
_FARTHEST = 4.0
_EXCEEDANCES = 3
_ROW, _ROWS = 4096, 16
_LOT, _SHUFFLES, _MARGIN = 8, 400, 1.1
_TRIALS = 400

Array = NDArray[np.float64]


def fit_chart(guard: str, good: Array, disturbed: Array, units: Array) -> Chart:
    """Fit a guard's chart to its signed numbers of N good parts `(N, K)` in the order in which they were photographed.

    `disturbed` `(N, K)` are those of the same parts under what the guard is for, `units` `(K,)` what 1 of a number is
    in the words of the reason.
    """
    rng = np.random.default_rng(0)
    middle = np.median(good, axis=0)
    # The usual deviation of a law without outliers, but not where most parts are alike.
    spread = np.maximum(1.4826 * np.median(np.abs(good - middle), axis=0), good.std(axis=0) / 2)
    spread = np.maximum(spread, _LEAST_SPREAD[guard])
    fault = np.abs((disturbed - good) / spread).mean(axis=0).max()
    farthest = max(_FARTHEST, float(fault))
    centre = middle + spread * np.clip((good - middle) / spread, -farthest, farthest).mean(axis=0)
    usual, faulty = (np.clip((numbers - centre) / spread, -farthest, farthest) for numbers in (good, disturbed))
    least = max(_RELEVANT[guard] * float(deviation(guard, faulty.mean(axis=0))), stray_of_lots(guard, usual, rng))
    limits = np.maximum(stray_by_chance(guard, usual, rng) * _unit(len(good)), least)
    # Whatever it looks like, one part is no more than half of an alarm.
    farthest = min(farthest, WINDOWS[0] / 2 * float(limits[0]))
    usual, faulty = np.clip(usual, -farthest, farthest), np.clip(faulty, -farthest, farthest)
    return Chart(
        centre=tuple(centre.tolist()),
        spread=tuple(spread.tolist()),
        units=tuple((spread * units).tolist()),
        farthest=farthest,
        limits=tuple(limits.tolist()),
        stops_within=stops_within(guard, usual, faulty, limits, rng),
    )


def stray_by_chance(guard: str, usual: Array, rng: np.random.Generator) -> float:
    """How far, in standard errors, no mean of parts like `usual` `(N, K)` strays for `PARTS_BETWEEN` parts.

    Parts are drawn from them with replacement, and with each row of parts the centre anew: N parts do not know it
    better. Alarms come in clusters, of which each counts once.
    """
    highest = np.concatenate(list(_clusters(guard, usual, rng)))
    return _student(float(np.sort(highest)[-_EXCEEDANCES]), len(usual) - 1)


def _student(normal: float, freedom: int) -> float:
    """The quantile of Student's t for that of the normal law: N parts do not know their spread, either.

    Wallace, 1959, "Bounds on normal approximations to Student's and the chi-square distributions".
    """
    widened = normal * (8 * freedom + 3) / (8 * freedom + 1)
    return float(np.sqrt(freedom * np.expm1(widened**2 / freedom)))


def _clusters(guard: str, usual: Array, rng: np.random.Generator) -> Iterator[Array]:
    parts = len(usual)
    for _ in range(-(-_EXCEEDANCES * PARTS_BETWEEN // (_ROW * _ROWS))):
        centres = usual[rng.integers(0, parts, (_ROWS, parts))].mean(axis=1, keepdims=True)
        rows = usual[rng.integers(0, parts, (_ROWS, _ROW))] - centres
        found = moving_deviations(guard, rows) / _unit(parts)[:, None, None]
        yield found.max(axis=0).reshape(-1, 4 * WINDOWS[-1]).max(axis=1)


def _unit(parts: int) -> Array:
    """Standard errors of the windows' means against a centre that `parts` parts give, in spreads, `(W,)`."""
    return np.sqrt(1 / np.asarray(WINDOWS) + 1 / parts)


def moving_deviations(guard: str, rows: Array) -> Array:
    """Deviations of the mean up to each part, of rows of parts `(R, T, K)`, for each window `(W, R, T)`.

    Minus infinity where a window is not full yet.
    """
    sums = np.concatenate([np.zeros_like(rows[:, :1]), np.cumsum(rows, axis=1)], axis=1)
    found = np.full((len(WINDOWS), *rows.shape[:2]), -np.inf)
    for place, window in enumerate(WINDOWS):
        found[place, :, window - 1 :] = deviation(guard, (sums[:, window:] - sums[:, :-window]) / window)
    return found


def stray_of_lots(guard: str, usual: Array, rng: np.random.Generator) -> float:
    """How far means of neighbours stray where that is more than in any order: parts then come in lots. Else 0.

    A lot may last longer than any window, so this holds for all of them.
    """
    if len(usual) < 2 * _LOT:
        return 0.0
    found = _farthest_mean(guard, usual)
    by_chance = [_farthest_mean(guard, rng.permutation(usual)) for _ in range(_SHUFFLES)]
    return _MARGIN * found if found > np.quantile(by_chance, 0.99) else 0.0


def _farthest_mean(guard: str, parts: Array) -> float:
    closed = np.concatenate([np.zeros_like(parts[:1]), np.cumsum(np.concatenate([parts, parts[: _LOT - 1]]), axis=0)])
    return float(deviation(guard, (closed[_LOT:] - closed[:-_LOT]) / _LOT).max())


def stops_within(guard: str, usual: Array, faulty: Array, limits: Array, rng: np.random.Generator) -> int | None:
    """After how many faulty parts 95 of 100 rows are stopped, drawn from both with replacement; None beyond a window.

    A whole window of good parts comes before the first faulty one.
    """
    longest = WINDOWS[-1]
    draw = rng.integers(0, len(usual), (_TRIALS, 2 * longest))
    rows = np.concatenate([usual[draw[:, :longest]], faulty[draw[:, longest:]]], axis=1)
    levels = (moving_deviations(guard, rows) / limits[:, None, None]).max(axis=0)
    over = levels[:, longest:] > 1
    first = np.where(over.any(axis=1), over.argmax(axis=1) + 1, longest + 1)
    needed = int(np.quantile(first, 0.95, method="higher"))
    return needed if needed <= longest else None
