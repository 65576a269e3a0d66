"""Photographs on disk: which files count, and how any of them becomes an 8-bit frame."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_START_OF_SCAN = 0xDA
_PNG, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"


def list_images(folder: Path) -> list[Path]:
    """Image files directly inside `folder`, sorted by name. Hidden files are left out.

    Raises DataError where the folder is missing or is no folder.
    """
    if not folder.is_dir():
        raise DataError(f"expected a folder of images at {folder}, found {'a file' if folder.exists() else 'nothing'}")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read one file as uint8: grey `(H, W)` or BGR `(H, W, 3)`; alpha is dropped, 16 bit is scaled by 1/257.

    Raises DataError that names the file where it is missing, empty, truncated or no image.
    """
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Read a file as it is. Raises DataError that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode the bytes of one image file, as `read_image` does; `name` is for the message."""
    if not data:
        raise DataError(f"{name}: the file is empty")
    if not _is_complete(data):
        raise DataError(f"{name}: the image is truncated (its end mark is missing); copy it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f"{name}: no image that can be decoded (expected {', '.join(sorted(SUFFIXES))})")
    return _eight_bit(image, name)


def fingerprint(data: bytes) -> str:
    """Sixteen hexadecimal digits of sha256 that tell one image file's bytes from any other's."""
    return hashlib.sha256(data).hexdigest()[:16]


def check_images(paths: Iterable[Path]) -> None:
    """Read every file once and refuse all the bad ones in a single DataError."""
    problems = []
    for path in paths:
        try:
            read_image(path)
        except DataError as error:
            problems.append(str(error))
    if problems:
        lines = "\n  ".join(problems)
        raise DataError(f"{len(problems)} image file(s) cannot be used; repair or remove them:\n  {lines}")


def _is_complete(data: bytes) -> bool:
    """OpenCV fills the missing rest of a truncated JPEG with grey and only warns on stderr, so the end mark decides.

    Cameras and editors append zeros, metadata or films: the mark need not be at the end.
    """
    if data.startswith(_JPEG):
        return _JPEG_END in data[_first_scan(data) :]
    return not data.startswith(_PNG) or _PNG_END in data


def _first_scan(data: bytes) -> int:
    """Where a JPEG's pixels begin. The segments before it may hold a thumbnail, which has an end mark of its own."""
    position = len(_JPEG_END)
    while position + 4 <= len(data) and data[position + 1] != _START_OF_SCAN:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position


def _eight_bit(image: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise DataError(f"{name}: expected 8 or 16 bit pixels, found {image.dtype}; save it as 8 bit")
    if image.ndim == 3:
        if image.shape[2] == 2:  # grey with alpha
            image = image[:, :, 0]
        elif image.shape[2] == 4:
            image = image[:, :, :3]
    return np.ascontiguousarray(image, dtype=np.uint8)
