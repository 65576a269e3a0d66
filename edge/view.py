"""What one camera's pictures are judged by: a region of interest, and areas that nobody cares about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras.tables import AnyCamera
from edge.product import Product
from engines.errors import ConfigError, DataError
from engines.images import read_image
from engines.preprocess import Preprocessing

Polygon = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Ignored:
    """Areas of the camera's frame that are not looked at: what `picture` `(H, W)` shows not black, and `polygons`.

    Polygons are corners x, y in pixels of the frame.
    """

    picture: NDArray[np.uint8] | None
    polygons: tuple[Polygon, ...]
    _seen: dict[tuple[int, ...], NDArray[np.bool_]] = field(default_factory=dict, compare=False)

    def seen(self, preprocessing: Preprocessing, frame_shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Where the map `(H, W)` counts. Raises DataError where that is nowhere, or the picture has another size."""
        shape = frame_shape[:2]
        if shape not in self._seen:
            seen = ~preprocessing.mask(self._drawn(shape))
            if not seen.any():
                raise DataError("`ignore` and `ignore_mask` leave nothing of the picture to look at")
            self._seen[shape] = seen
        return self._seen[shape]

    def _drawn(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        mask = np.zeros(shape, np.uint8) if self.picture is None else self.picture.copy()
        if mask.shape != shape:
            size, expected = mask.shape[::-1], shape[::-1]
            raise DataError(f"expected `ignore_mask` of {expected[0]}x{expected[1]}, found {size[0]}x{size[1]} pixels")
        cv2.fillPoly(mask, [np.asarray(polygon, np.int32) for polygon in self.polygons], 255)
        return mask


@dataclass(frozen=True)
class View:
    """One camera's part of the way from its frame to a judgement."""

    roi: tuple[int, int, int, int] | None = None
    ignored: Ignored | None = None

    @classmethod
    def of(cls, table: AnyCamera) -> View:
        """The view that a station file describes. Raises ConfigError for a mask that cannot be read."""
        picture = None if table.ignore_mask is None else _read_mask(table.ignore_mask)
        drawn = picture is not None or table.ignore
        return cls(table.roi, Ignored(picture, table.ignore) if drawn else None)

    def preprocessing(self, bundles: Preprocessing) -> Preprocessing:
        """A bundle's preprocessing with this camera's region of interest, where it has one."""
        return bundles if self.roi is None else msgspec.structs.replace(bundles, roi=self.roi)

    def product(self, product: Product) -> Product:
        """The product as it judges this camera's frames; the engine is the same."""
        judge = replace(product.judge, preprocessing=self.preprocessing(product.judge.preprocessing))
        if self.ignored is not None:
            # Grades and the band of review belong to the score, and what is compared now is the map.
            judge = replace(judge, ignored=self.ignored, scale=None, review_above=None)
        return replace(product, judge=judge)


def _read_mask(path: Path) -> NDArray[np.uint8]:
    try:
        picture = read_image(path)
    except DataError as error:
        raise ConfigError(f"ignore_mask: {error}") from None
    return picture if picture.ndim == 2 else picture.max(axis=2)
