"""The pictures of one part as files: the frame without loss, and the anomaly map in 8 bit with its scale.

OpenCV encodes without holding Python's lock, so that the workers that judge go on meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.archive.index import map_name, picture_name
from edge.archive.part import MapView
from engines.atomic import write_durably
from engines.preprocess import Grid, Preprocessing

# The fastest level that compresses: a noisy frame gets 7 % smaller by the default one, in five times the time.
_FASTEST = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_DRAFT = ".draft"
_BLOCK = 4096


@dataclass(frozen=True)
class AnomalyMap:
    """The blurred map of one part, float32 of shape `(H, W)`, which nobody changes any more.

    `preprocessing` says where on the frame it lies, and `threshold` above which value regions are.
    """

    values: NDArray[np.float32]
    preprocessing: Preprocessing
    threshold: float

    def view(self, frame_shape: tuple[int, ...]) -> MapView:
        """How the map is archived, of a frame of this shape."""
        grid, side = Grid(self.preprocessing, frame_shape), self.values.shape[0]
        (left, top), (right, bottom) = grid.edge(0, 0), grid.edge(side, side)
        return MapView(
            low=float(self.values.min()),
            high=float(self.values.max()),
            threshold=self.threshold,
            x=left,
            y=top,
            width=right - left,
            height=bottom - top,
        )

    def grey(self) -> NDArray[np.uint8]:
        """The map as uint8 `(H, W)`: 0 for its least value, 255 for its largest, linear between."""
        low, high = float(self.values.min()), float(self.values.max())
        return np.rint((self.values - low) * (255.0 / max(high - low, 1e-30))).astype(np.uint8)


def write_pictures(folder: Path, key: int, frame: NDArray[np.uint8], grey_map: NDArray[np.uint8] | None) -> int:
    """Write a part's files, each at once and durably, and return how many bytes of the disk they take.

    `sync_directory(folder)` makes their names durable. Raises OSError; then none of them is left, if that can be done.
    """
    pictures = {picture_name(key): frame, **({} if grey_map is None else {map_name(key): grey_map})}
    try:
        return sum(_write(folder / name, picture) for name, picture in pictures.items())
    except BaseException:
        for name in pictures:
            (folder / name).unlink(missing_ok=True)
            (folder / f"{name}{_DRAFT}").unlink(missing_ok=True)
        raise


def _write(path: Path, picture: NDArray[np.uint8]) -> int:
    try:
        _, data = cv2.imencode(".png", picture, _FASTEST)
    except cv2.error:
        raise OSError(f"a picture of shape {picture.shape} cannot be encoded") from None
    draft = path.with_name(f"{path.name}{_DRAFT}")
    write_durably(draft, data.data)
    draft.replace(path)
    return -(-len(data) // _BLOCK) * _BLOCK
