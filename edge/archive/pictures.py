"""The pictures of one part as files: the frame without loss, and the anomaly map in 8 bit with its scale.

OpenCV encodes without holding Python's lock, so that the workers that judge go on meanwhile.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.archive.index import map_name, picture_name
from engines.atomic import write_durably

# The fastest level that compresses: a noisy frame gets 7 % smaller by the default one, in five times the time.
_FASTEST = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_DRAFT = ".draft"
_BLOCK = 4096


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
