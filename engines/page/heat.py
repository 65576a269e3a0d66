"""Heat maps over photographs, all on one colour scale that is tied to the map threshold.

On the scale 0 is a quiet place of a good part and 1 the threshold: below 1 a place is bluish at most, above it turns
yellow and then red. The same colour means the same value in every picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.preprocess import Grid, Preprocessing

# Position on the scale, red, green, blue, opacity.
STOPS = (
    (0.00, 40, 90, 220, 0.0),
    (0.55, 40, 90, 220, 0.0),
    (0.99, 60, 140, 255, 0.38),
    (1.00, 255, 226, 60, 0.40),
    (2.00, 255, 150, 0, 0.50),
    (3.50, 230, 40, 30, 0.58),
    (6.00, 140, 0, 80, 0.66),
)
TOP = STOPS[-1][0]
_TRUTH = (255, 230, 0)  # cyan, in BGR: nothing on the scale has that hue
_LIMIT = (255, 255, 255)


@dataclass(frozen=True)
class Scale:
    """The colour scale of one report: map values `quiet` and `threshold` lie at 0 and 1."""

    quiet: float
    threshold: float

    def position(self, anomaly_map: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where map values lie on the scale, float32 of the same shape."""
        span = max(self.threshold - self.quiet, 1e-9)
        return ((anomaly_map - self.quiet) / span).astype(np.float32)


def quiet_level(maps: NDArray[np.float32]) -> float:
    """The scale's zero: the middle value of maps `(N, H, W)` of good parts."""
    return float(np.median(maps))


def in_frame(
    anomaly_map: NDArray[np.float32], preprocessing: Preprocessing, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Bring a map `(H, W)` back onto the camera frame of `shape`; NaN where the network saw nothing."""
    grid = Grid(preprocessing, shape)
    height, width = anomaly_map.shape
    (left, top), (right, bottom) = grid.edge(0, 0), grid.edge(width, height)
    x0, y0, x1, y1 = round(left), round(top), round(right), round(bottom)
    frame = np.full(shape[:2], np.nan, np.float32)
    frame[y0:y1, x0:x1] = cv2.resize(anomaly_map, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return frame


def outlined(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with the outline of the true defect, BGR."""
    return _contour(picture.copy(), _around(mask), _TRUTH)


def overlaid(
    picture: NDArray[np.uint8], position: NDArray[np.float32], mask: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """The picture, BGR, under its heat map; what is above the threshold has a white edge, the truth a cyan one.

    `mask` is the true defect, where it is known. `position` is on the scale and on the frame, as `Scale.position` and
    `in_frame` give it.
    """
    seen = np.isfinite(position)
    value = np.clip(np.nan_to_num(position), 0, TOP)
    places = [stop[0] for stop in STOPS]
    red, green, blue, opacity = (np.interp(value, places, [stop[index] for stop in STOPS]) for index in range(1, 5))
    opacity = (opacity * seen)[..., None]
    # Muted, so that the colours of the part and those of the scale are told apart.
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    base = (0.65 * grey + 0.35 * picture) * np.where(seen, 1, 0.45)[..., None]
    blended = (base * (1 - opacity) + np.stack([blue, green, red], -1) * opacity).astype(np.uint8)
    above = (seen & (value > 1)).astype(np.uint8)
    edged = _contour(blended, above, _LIMIT)
    return edged if mask is None else _contour(edged, _around(mask), _TRUTH)


def _around(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask with a margin, so that an outline does not cover the crack or scratch it points at."""
    return np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))), np.uint8)


def _contour(image: NDArray[np.uint8], mask: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, contours, -1, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.drawContours(image, contours, -1, colour, 2, cv2.LINE_AA)
    return image
