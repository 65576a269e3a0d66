"""The anomaly map of one part, and the grey picture of it that people and the archive get."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Grid, Preprocessing


class MapView(msgspec.Struct, frozen=True, kw_only=True):
    """What a grey picture of a map means, and where on the camera's frame it lies.

    Grey 0 is the anomaly `low`, 255 is `high`, linear between; `threshold` is the map's own, above which regions are,
    and `quiet` what places of good parts have, where that is known.
    The map covers the frame from (`x`, `y`) on, `width` by `height`, in pixels of the frame; it may reach beyond it.
    """

    low: float
    high: float
    threshold: float
    quiet: float | None = None
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class AnomalyMap:
    """The blurred map of one part, float32 of shape `(H, W)`, which nobody changes any more.

    `preprocessing` says where on the frame it lies, `threshold` above which value regions are, and `quiet` what places
    of good parts have.
    """

    values: NDArray[np.float32]
    preprocessing: Preprocessing
    threshold: float
    quiet: float | None = None

    def view(self, frame_shape: tuple[int, ...]) -> MapView:
        """What `grey` means and where it lies, on a frame of this shape."""
        grid, (rows, columns) = Grid(self.preprocessing, frame_shape), self.values.shape
        (left, top), (right, bottom) = grid.edge(0, 0), grid.edge(columns, rows)
        return MapView(
            low=float(self.values.min()),
            high=float(self.values.max()),
            threshold=self.threshold,
            quiet=self.quiet,
            x=left,
            y=top,
            width=right - left,
            height=bottom - top,
        )

    def grey(self) -> NDArray[np.uint8]:
        """The map as uint8 `(H, W)`: 0 for its least value, 255 for its largest, linear between."""
        low, high = float(self.values.min()), float(self.values.max())
        return np.rint((self.values - low) * (255.0 / max(high - low, 1e-30))).astype(np.uint8)

    @property
    def finite(self) -> bool:
        """Whether it can be shown at all: an engine that fails may give numbers that are none."""
        return bool(np.isfinite(self.values).all())
