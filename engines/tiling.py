"""Tiles: squares of the network's size that together cover a larger picture, and the way of their maps back to one."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

MOST_TILES = 64
MOST_OVERLAP = 0.5


class Tiling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rows` x `columns` tiles of one picture; neighbours have the share `overlap` of a tile's side in common.

    Raises ValueError for fewer than 2 tiles or more than `MOST_TILES`, and for an overlap outside 0 to `MOST_OVERLAP`.
    """

    rows: int
    columns: int
    overlap: float = 0.1

    def __post_init__(self) -> None:
        if min(self.rows, self.columns) < 1 or not 2 <= len(self) <= MOST_TILES:
            raise ValueError(
                f"expected rows x columns of 2 to {MOST_TILES} tiles, found {self.rows}x{self.columns}; name another "
                "grid, or leave tiles out to look at the picture as a whole"
            )
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise ValueError(f"expected an overlap of 0 to {MOST_OVERLAP:g} of a tile's side, found {self.overlap:g}")

    def __len__(self) -> int:
        return self.rows * self.columns

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}, {self.overlap:.0%} in common"

    def shape(self, side: int) -> tuple[int, int]:
        """Height and width of the picture that tiles of `side` pixels cover."""
        step = self._step(side)
        return side + (self.rows - 1) * step, side + (self.columns - 1) * step

    def corners(self, side: int) -> list[tuple[int, int]]:
        """Top and left of every tile in that picture, row by row."""
        step = self._step(side)
        return [(row * step, column * step) for row in range(self.rows) for column in range(self.columns)]

    def cut(self, picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        """The tiles `(T, side, side, ...)` of a picture of that shape."""
        return np.stack([picture[top : top + side, left : left + side] for top, left in self.corners(side)])

    def stitch(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """One map from those of the tiles `(T, S, S)`: where tiles overlap, the larger value.

        So the map's peak is the largest of the tiles' peaks, as the score is the largest of their scores, and what one
        tile saw at its rim is not thinned by a neighbour that saw less of it.
        """
        side = maps.shape[1]
        whole = np.full(self.shape(side), -np.inf, np.float32)
        for tile, (top, left) in zip(maps, self.corners(side), strict=True):
            place = whole[top : top + side, left : left + side]
            np.maximum(place, tile, out=place)
        return whole

    def _step(self, side: int) -> int:
        """Pixels from one tile to the next."""
        return side - round(self.overlap * side)
