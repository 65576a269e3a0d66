"""Good parts through an engine, one at a time: what the threshold and the parity are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, Inspection
from engines.errors import CalibrationError
from engines.preprocess import Preprocessing

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many parts are done, and how many there are."""


class Parts(Protocol):
    """N preprocessed good parts; `parts[i]` is RGB uint8 of shape `(H, W, 3)`. A list will do."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class PartScores:
    """What one engine says of N parts, all float32.

    `scores` `(N,)`, `map_peaks` `(N,)`, the peaks of the blurred maps, and `embeddings` `(N, C)`.
    """

    scores: NDArray[np.float32]
    map_peaks: NDArray[np.float32]
    embeddings: NDArray[np.float32]


@runtime_checkable
class Photographs(Parts, Protocol):
    """Parts that are still there as the camera saw them."""

    preprocessing: Preprocessing

    def photograph(self, index: int) -> NDArray[np.uint8]:
        """Return one as BGR `(H, W, 3)` or grey `(H, W)`."""


def inspect_one(engine: Engine, frame: NDArray[np.uint8]) -> Inspection:
    """Inspect one preprocessed frame `(H, W, 3)` in a batch of its own.

    The daemon does the same: a library may choose other kernels for another batch size, and then the scores differ.
    An engine that preprocesses gets the frame as a picture that fits already, so that it, too, goes the daemon's way.
    """
    fitting = Preprocessing(field="full", resize=engine.input_size)
    if engine.takes(fitting):
        return engine.submit_frame(frame[:, :, ::-1], fitting).result()
    return engine.infer(frame[None])


def inspect_part(engine: Engine, parts: Parts, index: int, frame: NDArray[np.uint8]) -> Inspection:
    """Inspect a part as the daemon does; `frame` is `parts[index]`. An engine that preprocesses gets the photograph."""
    if isinstance(parts, Photographs) and engine.takes(parts.preprocessing):
        return engine.submit_frame(parts.photograph(index), parts.preprocessing).result()
    return inspect_one(engine, frame)


def score_parts(engine: Engine, parts: Parts, progress: Progress | None = None) -> PartScores:
    """Score every part; only one map is in memory at a time. Raises CalibrationError where there is no part."""
    if not len(parts):
        raise CalibrationError("expected good parts to calibrate with, found none; a rate of 1 % takes 99 of them")
    scores = np.empty(len(parts), np.float32)
    map_peaks = np.empty(len(parts), np.float32)
    embeddings = []
    for index in range(len(parts)):
        inspection = inspect_part(engine, parts, index, parts[index])
        scores[index], map_peaks[index] = inspection.scores[0], inspection.maps[0].max()
        embeddings.append(inspection.embeddings[0].copy())
        if progress:
            progress("scoring", index + 1, len(parts))
    return PartScores(scores, map_peaks, np.stack(embeddings))
