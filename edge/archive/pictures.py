"""The pictures of one part as files: the frame without loss, and the anomaly map in 8 bit with its scale."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.archive.encoder import Encoder
from edge.archive.index import map_name, picture_name

_DRAFT = ".draft"
_BLOCK = 4096


def write_pictures(
    folder: Path, key: int, frame: NDArray[np.uint8], grey_map: NDArray[np.uint8] | None, encoder: Encoder
) -> int:
    """Write a part's files, each at once and durably, and return how many bytes of the disk they take.

    `sync_directory(folder)` makes their names durable. Raises OSError; then none of them is left, if that can be done.
    """
    pictures = {picture_name(key): frame, **({} if grey_map is None else {map_name(key): grey_map})}
    try:
        return sum(_write(folder / name, picture, encoder) for name, picture in pictures.items())
    except BaseException:
        for name in pictures:
            (folder / name).unlink(missing_ok=True)
            (folder / f"{name}{_DRAFT}").unlink(missing_ok=True)
        raise


def _write(path: Path, picture: NDArray[np.uint8], encoder: Encoder) -> int:
    draft = path.with_name(f"{path.name}{_DRAFT}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        size = encoder.write(picture, file)
    finally:
        os.close(file)
    draft.replace(path)
    return -(-size // _BLOCK) * _BLOCK
