"""The one way from a camera frame to the network's input, shared by trainer, calibration, benchmarks and daemon.

Scaling and the ImageNet mean and deviation are not here: they live inside the exported graph, so that frames stay
uint8 until they are inside it.
"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.errors import DataError
from engines.tiling import Tiling

# Beyond this factor bilinear sampling skips over whole pixels, and a thin defect can fall between its taps.
# So sides that shrink more are halved first, by averaging pairs of pixels, until it holds: then every pixel counts.
# Averaging areas in one go sees the same and takes twice as long (1280x1024: 1.2 ms instead of 0.6) or more.
LARGEST_SHRINK = 2


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a frame becomes what the network looks at (SimpleNet section 4.1: resize 256, centre crop 224).

    `field="crop"` is the paper's; it never sees the outer rim. `field="full"` keeps the whole resized frame.
    `roi` is x, y, width, height in pixels of the frame, applied first. With `tiles` the frame becomes a larger picture
    that the network sees tile by tile, each of `input_size`; `resize` is then what a single tile would be resized to.
    """

    field: Literal["crop", "full"] = "crop"
    resize: int = 256
    crop: int = 224
    roi: tuple[int, int, int, int] | None = None
    tiles: Tiling | None = None

    @property
    def input_size(self) -> int:
        """Side of the network's square input, in pixels."""
        return self.crop if self.field == "crop" else self.resize

    @property
    def input_shape(self) -> tuple[int, int]:
        """Height and width of the picture that a frame becomes: all that the network looks at, in pixels."""
        return self.tiles.shape(self.input_size) if self.tiles else (self.input_size, self.input_size)

    @property
    def resized_shape(self) -> tuple[int, int]:
        """Height and width that the (ROI of the) frame is resized to before the crop."""
        height, width = self.input_shape
        return height + self.resize - self.input_size, width + self.resize - self.input_size

    @property
    def margin(self) -> int:
        """Pixels that the crop leaves out above and on the left."""
        return (self.resize - self.input_size) // 2

    @property
    def squares_a_frame(self) -> int:
        """How many squares of `input_size` go through the network for one frame."""
        return len(self.tiles) if self.tiles else 1

    @property
    def unseen_share(self) -> float:
        """Share of the (ROI's) area that lies outside the network's field of view, 0 to 1."""
        return 1.0 - math.prod(self.input_shape) / math.prod(self.resized_shape)

    def __call__(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn one BGR `(H, W, 3)` or grey `(H, W)` frame into an RGB uint8 picture of shape `(*input_shape, 3)`."""
        picture = self._resized(self._cut(check_frame(frame)))
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)

    def squares(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What goes through the network of a preprocessed picture, uint8 `(squares_a_frame, S, S, 3)`."""
        return self.tiles.cut(picture, self.input_size) if self.tiles else picture[None]

    def mask(self, mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Bring a ground-truth mask `(H, W)` onto the input's grid with nearest neighbours; non-zero is defect."""
        resized = cv2.resize(self._cut(mask), self.resized_shape[::-1], interpolation=cv2.INTER_NEAREST)
        return np.asarray(resized[self._inner()] > 0)

    def _inner(self) -> tuple[slice, slice]:
        down, across = (slice(self.margin, self.margin + side) for side in self.input_shape)
        return down, across

    def _resized(self, region: NDArray[np.uint8]) -> NDArray[np.uint8]:
        whole, inner = self.resized_shape, self._inner()
        sides = list(zip(region.shape[:2], whole, inner, strict=True))
        # Cropping first saves a quarter of the time. It gives the same where no pair of averaged pixels lies across an
        # edge, as with most cameras' sides, which have many factors of two, and where nothing is enlarged: then pixels
        # beyond the edge are blended in.
        steps = len(halvings(region.shape, whole))
        if any(
            side < target or side * edge.start % (target << steps) or side * edge.stop % (target << steps)
            for side, target, edge in sides
        ):
            return _resize(region, whole)[inner]
        down, across = (slice(side * e.start // target, side * e.stop // target) for side, target, e in sides)
        return _resize(region[down, across], self.input_shape)

    def region(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """x, y, width, height of what is looked at in a frame of `shape`.

        Raises DataError where it lies outside, and where it has too few pixels to be cut into tiles.
        """
        frame_height, frame_width = shape[:2]
        x, y, width, height = self.roi or (0, 0, frame_width, frame_height)
        if min(x, y) < 0 or min(width, height) < 1 or x + width > frame_width or y + height > frame_height:
            raise DataError(
                f"the region of interest x={x} y={y} {width}x{height} does not lie inside the "
                f"{frame_width}x{frame_height} frame; correct `roi`"
            )
        self._check_tiles(width, height)
        return x, y, width, height

    def _check_tiles(self, width: int, height: int) -> None:
        """Tiles that only enlarge the picture cost their time and show nothing more."""
        if self.tiles is None:
            return
        least_height, least_width = self.resized_shape
        if (self.tiles.rows > 1 and height < least_height) or (self.tiles.columns > 1 and width < least_width):
            raise DataError(
                f"expected at least {least_width}x{least_height} pixels for {self.tiles.rows}x{self.tiles.columns} "
                f"tiles of {self.input_size} pixels, found {width}x{height}: each tile would only be enlarged; take "
                "fewer tiles, or a larger picture or `roi`"
            )

    def _cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        x, y, width, height = self.region(frame.shape)
        return frame[y : y + height, x : x + width]


class Grid:
    """Where the map's pixels lie in the camera frame: the way back through crop, resize and region of interest."""

    def __init__(self, preprocessing: Preprocessing, frame_shape: tuple[int, ...]) -> None:
        height, width = frame_shape[:2]
        self._left, self._top, width, height = preprocessing.roi or (0, 0, width, height)
        down, across = preprocessing.resized_shape
        self._scale_x, self._scale_y = width / across, height / down
        self._margin = preprocessing.margin

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
