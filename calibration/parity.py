"""Parity: how far engines are from the float32 reference on the parts that set the threshold."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.scoring import Parts, Progress, inspect_part
from engines.bundle import Parity
from engines.engine import Engine, Inspection


def measure_parity(
    reference: Engine, engines: Sequence[Engine], parts: Parts, threshold: float, progress: Progress | None = None
) -> tuple[Parity, ...]:
    """Compare each engine with `reference` on N parts, in the engines' order.

    A verdict flips where one of the two finds the score above `threshold` and the other does not.
    """
    expected = np.empty(len(parts), np.float32)
    comparisons = [_Comparison(engine, len(parts)) for engine in engines]
    for index in range(len(parts)):
        frame = parts[index]
        inspection = inspect_part(reference, parts, index, frame)
        expected[index] = inspection.scores[0]
        for comparison in comparisons:
            comparison.add(parts, index, frame, inspection)
        if progress:
            progress("comparing engines", index + 1, len(parts))
    return tuple(comparison.summary(reference, expected, threshold) for comparison in comparisons)


class _Comparison:
    """One engine's scores and its largest map error so far: maps of thousands of parts would not fit in memory."""

    def __init__(self, engine: Engine, parts: int) -> None:
        self._engine = engine
        self._scores = np.empty(parts, np.float32)
        self._map_error = 0.0

    def add(self, parts: Parts, index: int, frame: NDArray[np.uint8], expected: Inspection) -> None:
        found = inspect_part(self._engine, parts, index, frame)
        self._scores[index] = found.scores[0]
        self._map_error = max(self._map_error, _largest_error(found.maps, expected.maps))

    def summary(self, reference: Engine, expected: NDArray[np.float32], threshold: float) -> Parity:
        return Parity(
            backend=self._engine.description.backend,
            precision=self._engine.description.precision,
            reference=f"{reference.description.backend} {reference.description.precision}",
            max_score_error=_largest_error(self._scores, expected),
            max_map_error=self._map_error,
            score_spread=float(expected.std(dtype=np.float64)),
            images=len(expected),
            verdict_flips=int(np.sum((self._scores > threshold) != (expected > threshold))),
        )


def _largest_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    error = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0))
    # An engine that overflows (float16 can) is infinitely far away, which JSON cannot say.
    return error if error <= sys.float_info.max else sys.float_info.max
