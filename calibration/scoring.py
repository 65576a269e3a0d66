"""Good parts through an engine, one at a time: what the threshold and the parity are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, Inspection
from engines.errors import CalibrationError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many parts are done, and how many there are."""


class Parts(Protocol):
    """N preprocessed good parts; `parts[i]` is RGB uint8 of shape `(S, S, 3)`. A list will do."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class PartScores:
    """What one engine says of N parts: `scores` and the peaks of the blurred maps, float32 of shape `(N,)` each."""

    scores: NDArray[np.float32]
    map_peaks: NDArray[np.float32]


def inspect_one(engine: Engine, frame: NDArray[np.uint8]) -> Inspection:
    """Inspect one frame `(S, S, 3)` in a batch of its own.

    The daemon does the same: a library may choose other kernels for another batch size, and then the scores differ.
    """
    return engine.infer(frame[None])


def score_parts(engine: Engine, parts: Parts, progress: Progress | None = None) -> PartScores:
    """Score every part; only one map is in memory at a time. Raises CalibrationError where there is no part."""
    if not len(parts):
        raise CalibrationError("expected good parts to calibrate with, found none; a rate of 1 % takes 99 of them")
    scores = np.empty(len(parts), np.float32)
    map_peaks = np.empty(len(parts), np.float32)
    for index in range(len(parts)):
        inspection = inspect_one(engine, parts[index])
        scores[index], map_peaks[index] = inspection.scores[0], inspection.maps[0].max()
        if progress:
            progress("scoring", index + 1, len(parts))
    return PartScores(scores, map_peaks)
