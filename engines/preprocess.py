"""The one way from a camera frame to the network's input, shared by trainer, calibration, benchmarks and daemon.

Scaling and the ImageNet mean and deviation are not here: they live inside the exported graph, so that frames stay
uint8 until they are inside it.
"""

from __future__ import annotations

from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.errors import DataError

# Beyond this factor bilinear sampling skips over whole pixels, and a thin defect can fall between its taps.
# So sides that shrink more are halved first, by averaging pairs of pixels, until it holds: then every pixel counts.
# Averaging areas in one go sees the same and takes twice as long (1280x1024: 1.2 ms instead of 0.6) or more.
LARGEST_SHRINK = 2


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a frame becomes the network's input (SimpleNet section 4.1: resize 256, centre crop 224).

    `field="crop"` is the paper's; it never sees the outer rim. `field="full"` keeps the whole resized frame.
    `roi` is x, y, width, height in pixels of the frame, applied first.
    """

    field: Literal["crop", "full"] = "crop"
    resize: int = 256
    crop: int = 224
    roi: tuple[int, int, int, int] | None = None

    @property
    def input_size(self) -> int:
        """Side of the network's square input, in pixels."""
        return self.crop if self.field == "crop" else self.resize

    @property
    def unseen_share(self) -> float:
        """Share of the (ROI's) area that lies outside the network's field of view, 0 to 1."""
        return 1.0 - (self.input_size / self.resize) ** 2

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn one BGR `(H, W, 3)` or grey `(H, W)` frame into RGB uint8 of shape `(input_size, input_size, 3)`."""
        square = self._resized(self._cut(check_frame(frame)))
        return cv2.cvtColor(square, cv2.COLOR_GRAY2RGB if square.ndim == 2 else cv2.COLOR_BGR2RGB)

    def mask(self, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Bring a ground-truth mask `(H, W)` onto the input's grid with nearest neighbours; non-zero is defect."""
        resized = cv2.resize(self._cut(mask), (self.resize, self.resize), interpolation=cv2.INTER_NEAREST)
        margin = (self.resize - self.input_size) // 2
        square = resized[margin : margin + self.input_size, margin : margin + self.input_size]
        return np.asarray(square > 0)

    def _resized(self, region: NDArray[np.uint8]) -> NDArray[np.uint8]:
        margin = (self.resize - self.input_size) // 2
        inner = slice(margin, margin + self.input_size)
        edges = [edge * side for edge in (inner.start, inner.stop) for side in region.shape[:2]]
        # Cropping first saves a quarter of the time. It gives the same where no pair of averaged pixels lies across an
        # edge, as with most cameras' sides, which have many factors of two, and where nothing is enlarged: then pixels
        # beyond the edge are blended in.
        grain = self.resize << len(halvings(region.shape, (self.resize, self.resize)))
        if min(region.shape[:2]) < self.resize or any(edge % grain for edge in edges):
            return _resize(region, (self.resize, self.resize))[inner, inner]
        top, left, bottom, right = (edge // self.resize for edge in edges)
        return _resize(region[top:bottom, left:right], (self.input_size, self.input_size))

    def region(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """x, y, width, height of what is looked at in a frame of `shape`. Raises DataError where it lies outside."""
        frame_height, frame_width = shape[:2]
        x, y, width, height = self.roi or (0, 0, frame_width, frame_height)
        if min(x, y) < 0 or min(width, height) < 1 or x + width > frame_width or y + height > frame_height:
            raise DataError(
                f"the region of interest x={x} y={y} {width}x{height} does not lie inside the "
                f"{frame_width}x{frame_height} frame; correct `roi`"
            )
        return x, y, width, height

    def _cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x, y, width, height = self.region(frame.shape)
        return frame[y : y + height, x : x + width]


class Grid:
    """Where the map's pixels lie in the camera frame: the way back through crop, resize and region of interest."""

    def __init__(self, preprocessing: Preprocessing, frame_shape: tuple[int, ...]) -> None:
        height, width = frame_shape[:2]
        self._left, self._top, width, height = preprocessing.roi or (0, 0, width, height)
        self._scale_x, self._scale_y = width / preprocessing.resize, height / preprocessing.resize
        self._margin = (preprocessing.resize - preprocessing.input_size) // 2

    def edge(self, x: float, y: float) -> tuple[float, float]:
        """Frame coordinates of a corner between map pixels; pixel i covers i to i + 1 on both grids."""
        return self._left + (x + self._margin) * self._scale_x, self._top + (y + self._margin) * self._scale_y


def check_frame(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A camera frame as it is, or as `(H, W)` where it is `(H, W, 1)`. Raises DataError for what is no frame."""
    if frame.dtype == np.uint8 and frame.size and (frame.ndim == 2 or (frame.ndim == 3 and frame.shape[2] in (1, 3))):
        return frame[:, :, 0] if frame.ndim == 3 and frame.shape[2] == 1 else frame
    raise DataError(
        f"expected a uint8 frame of shape (H, W) or (H, W, 3), found {frame.dtype} of shape {frame.shape}; "
        "read files with engines.images.read_image, or set the camera to 8 bit mono or BGR"
    )


def halvings(shape: tuple[int, ...], target: tuple[int, int]) -> list[tuple[bool, bool]]:
    """Which sides (height, width) of a picture of `shape` are halved, step by step, before it is resized to `target`.

    There are as many steps as one of the sides takes. The other one is left alone once it is below twice its target.
    """
    limits = LARGEST_SHRINK * target[0], LARGEST_SHRINK * target[1]
    height, width = shape[:2]
    steps = []
    while height > limits[0] or width > limits[1]:
        step = height >= limits[0], width >= limits[1]
        height, width = height >> step[0], width >> step[1]
        steps.append(step)
    return steps


def _resize(frame: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    for down, across in halvings(frame.shape, shape):
        # The last row or column of an odd number of them is left out.
        height, width = frame.shape[0] >> down, frame.shape[1] >> across
        even = frame[: height << down, : width << across]
        frame = np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(frame, shape[::-1], interpolation=cv2.INTER_LINEAR))
