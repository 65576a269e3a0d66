"""Pixels as GenICam cameras send them, made into grey or BGR frames of 8 bit."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

# By the Pixel Format Naming Convention. Bayer patterns are named after the first row here as there.
_CONVERSIONS = {
    "BayerRG8": cv2.COLOR_BayerRGGB2BGR,
    "BayerBG8": cv2.COLOR_BayerBGGR2BGR,
    "BayerGR8": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB8": cv2.COLOR_BayerGBRG2BGR,
    "RGB8": cv2.COLOR_RGB2BGR,
}
# Significant bits of formats with one grey value in two bytes.
_DEEP = {"Mono10": 10, "Mono12": 12, "Mono14": 14, "Mono16": 16}
FORMATS = ("Mono8", "BGR8", *_DEEP, *_CONVERSIONS)


def to_frame(data: bytes, pixel_format: str, width: int, height: int) -> NDArray[np.uint8]:
    """A uint8 frame, grey `(H, W)` or BGR `(H, W, 3)`. Raises ValueError for other formats and for too little data."""
    if pixel_format not in FORMATS:
        raise ValueError(f"expected pixels of {', '.join(FORMATS)}, found {pixel_format}; set pixel_format")
    depth = _DEEP.get(pixel_format, 8)
    channels = 3 if pixel_format in ("RGB8", "BGR8") else 1
    needed = width * height * channels * (2 if depth > 8 else 1)
    if len(data) < needed:
        raise ValueError(f"expected {needed} bytes of {pixel_format}, found {len(data)}")
    if depth > 8:
        deep = np.frombuffer(data, "<u2", width * height)
        return (deep >> (depth - 8)).astype(np.uint8).reshape(height, width)
    pixels = np.frombuffer(data, np.uint8, needed).reshape((height, width, 3)[: 3 if channels == 3 else 2])
    code = _CONVERSIONS.get(pixel_format)
    return pixels if code is None else np.asarray(cv2.cvtColor(pixels, code), np.uint8)
