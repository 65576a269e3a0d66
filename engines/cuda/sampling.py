"""Which pixels of a camera frame each pixel of the network's input is made of, worked out once for each geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.errors import DataError
from engines.preprocess import Preprocessing, halvings

TAP = np.dtype([("first", np.int32), ("second", np.int32), ("share", np.int32)])
"""Two neighbours in the halved picture, and the second one's share in 1/2048."""

# The kernel has a form for each number of halvings; this many bring 16384 pixels down to 512.
MOST_HALVINGS = 5
_UNIT = 2048  # OpenCV's bilinear resize of bytes works with 11 bits


@dataclass(frozen=True)
class Sampling:
    """What the preprocessing kernel needs to know of one preprocessing and one shape of frames.

    `left` and `top` are the region's corner in pixels; `channels` is 1 or 3. Bit k of `halved_across` and
    `halved_down` says whether halving k concerns the width and the height. `taps` has `size` entries for the columns
    and then `size` for the rows.
    """

    left: int
    top: int
    channels: int
    halvings: int
    halved_across: int
    halved_down: int
    taps: NDArray[np.void]
    size: int


def is_known(preprocessing: Preprocessing) -> bool:
    """Whether the kernel does all of it. What it has no setting for must be as it is by default."""
    known = preprocessing.field, preprocessing.resize, preprocessing.crop, preprocessing.roi
    return preprocessing == Preprocessing(*known)


def find_sampling(preprocessing: Preprocessing, shape: tuple[int, ...]) -> Sampling:
    """Work it out for frames of `shape`, `(H, W)` or `(H, W, 1 or 3)`.

    Raises DataError where the region lies outside, or where a side is more than 64 times as long as the network's.
    """
    left, top, width, height = preprocessing.region(shape)
    steps = halvings((height, width), (preprocessing.resize, preprocessing.resize))
    if len(steps) > MOST_HALVINGS:
        raise DataError(
            f"the GPU shrinks a side to {preprocessing.resize} from {preprocessing.resize << MOST_HALVINGS + 1} pixels "
            f"at most, found {width}x{height}; set a smaller `roi`, or choose --engine openvino"
        )
    down, across = (sum(step[axis] << number for number, step in enumerate(steps)) for axis in (0, 1))
    sides = (width >> across.bit_count(), height >> down.bit_count())
    columns, rows = (_taps(side, preprocessing) for side in sides)
    # Beyond the outermost columns there is nothing to blend with. OpenCV blends the outermost row with itself instead,
    # which rounds otherwise.
    columns["share"][columns["first"] == columns["second"]] = 0
    taps = np.concatenate([columns, rows])
    channels = shape[2] if len(shape) == 3 else 1
    return Sampling(left, top, channels, len(steps), across, down, taps, preprocessing.input_size)


def _taps(side: int, preprocessing: Preprocessing) -> NDArray[np.void]:
    """The input's columns or rows in a halved picture with `side` of them, rounded as OpenCV rounds."""
    margin = (preprocessing.resize - preprocessing.input_size) // 2
    centres = np.arange(margin, margin + preprocessing.input_size) + 0.5
    place = (centres * (side / preprocessing.resize) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int32)
    taps = np.empty(len(first), TAP)
    taps["first"], taps["second"] = np.clip(first, 0, side - 1), np.clip(first + 1, 0, side - 1)
    taps["share"] = np.rint((place - first) * np.float32(_UNIT))
    return taps
