"""An engine for pictures in tiles: all tiles of a picture go through the backend's engine as one batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, Inspection, Pending, check_frames
from engines.tiling import Tiling


class TiledEngine(Engine):
    """Cuts preprocessed pictures `(N, H, W, 3)` into tiles for `inner`, which it owns, and makes one of what it says.

    A picture's score is the largest of its tiles' scores, its map `(H, W)` their maps stitched, its embedding the mean
    of theirs. The tiles of one call travel together, so a call takes one of the inner engine's requests.
    """

    def __init__(self, inner: Engine, tiling: Tiling) -> None:
        self.description = inner.description
        self.input_size = inner.input_size
        self.in_flight = inner.in_flight
        self._inner = inner
        self._tiling = tiling

    @property
    def input_shape(self) -> tuple[int, int]:
        return self._tiling.shape(self.input_size)

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        check_frames(frames, self.input_shape)
        tiles = np.concatenate([self._tiling.cut(frame, self.input_size) for frame in frames])
        return _Stitching(self._inner.submit(tiles), self._tiling)

    def close(self) -> None:
        self._inner.close()


class _Stitching(Pending):
    """Tiles of whole pictures at work."""

    def __init__(self, tiles: Pending, tiling: Tiling) -> None:
        self._tiles = tiles
        self._tiling = tiling

    def result(self) -> Inspection:
        found, each = self._tiles.result(), len(self._tiling)
        maps = found.maps.reshape(-1, each, *found.maps.shape[1:])
        return Inspection(
            scores=found.scores.reshape(-1, each).max(axis=1),
            maps=np.stack([self._tiling.stitch(tiles) for tiles in maps]),
            embeddings=found.embeddings.reshape(len(maps), each, -1).mean(axis=1),
        )
