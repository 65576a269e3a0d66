"""Patch features of photographs, computed once: the backbone is frozen and nothing is augmented.

The official code recomputes them at every step, which is most of its training time.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engines.backbones import IMAGENET_MEAN, IMAGENET_STD
from engines.errors import DataError
from engines.images import read_image
from engines.preprocess import Preprocessing
from trainer.allocator import freed_memory_kept
from trainer.synthetic import draw_defects

Progress = Callable[[int, int], None]

BATCH = 8
MEMORY_LIMIT = 4 << 30
# Share of a patch that a drawn defect covers for the patch to count as one.
COVERED = 0.3


@dataclass(frozen=True)
class DefectPatches:
    """Features of D patches that a drawn defect covers: float16 `(D, C)`.

    `images` and `positions` `(D,)` say which photograph (or tile) it was drawn onto, and at which of its patches.
    """

    patches: NDArray[np.float16]
    images: NDArray[np.intp]
    positions: NDArray[np.intp]


@dataclass(frozen=True)
class Features:
    """Patch features of N photographs, or of the tiles of photographs, all of one after all of another.

    `defects` are those of defects drawn onto them, where the recipe wants any.

    `patches` float16 `(N, P, C)`, P = grid x grid patches row by row, C = levels 2 and 3 concatenated; in memory, or a
    memory-mapped file where that would exceed the limit.
    """

    patches: NDArray[np.float16]
    grid: int
    defects: DefectPatches | None = None


@freed_memory_kept()
def extract(
    backbone: nn.Module,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    device: torch.device,
    progress: Progress | None = None,
    cache: NDArray[np.float16] | None = None,
) -> Features:
    """Compute the patch features of the photographs at `paths`, into `cache` where one is given (see `feature_store`).

    `progress` is called with the number of photographs done and their total. Raises DataError for an unreadable file.
    """
    grid, each = preprocessing.input_size // 8, preprocessing.squares_a_frame
    patches = cache
    done = 0
    for frames in _batches(paths, preprocessing):
        batch = patch_features(backbone, frames, device).to(torch.float16).cpu().numpy()
        if patches is None:
            patches = np.empty((len(paths) * each, *batch.shape[1:]), np.float16)
        patches[done : done + len(batch)] = batch
        done += len(batch)
        if progress:
            progress(done // each, len(paths))
    if patches is None:
        raise ValueError("expected at least one photograph")
    return Features(patches, grid)


def _batches(paths: Sequence[Path], preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    """Network inputs of all photographs in their order, `BATCH` at a time."""
    squares = (square for path in paths for square in preprocessing.squares(preprocessing(read_image(path))))
    while batch := list(itertools.islice(squares, BATCH)):
        yield np.stack(batch)


@freed_memory_kept()
def extract_defects(
    backbone: nn.Module,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    device: torch.device,
    pictures: int,
    seed: int,
    progress: Progress | None = None,
) -> DefectPatches:
    """Draw defects onto the photographs (or tiles) at `paths`, dealt evenly, and compute the features they cover.

    `pictures` of them with defects are made, and none is kept. Which defects one gets follows from `seed` and its place
    in `paths`. `progress` and errors are as for `extract`.
    """
    each = preprocessing.squares_a_frame
    order = np.random.default_rng(seed).permutation(len(paths) * each)
    found: list[tuple[NDArray[np.float16], NDArray[np.intp], NDArray[np.intp]]] = []
    for start in range(0, pictures, BATCH):
        turns = range(start, min(start + BATCH, pictures))
        images = [int(order[turn % len(order)]) for turn in turns]
        squares = [_square(paths[image // each], image % each, preprocessing) for image in images]
        drawn = [draw_defects(s, np.random.default_rng([seed, turn])) for s, turn in zip(squares, turns, strict=True)]
        patches = patch_features(backbone, np.stack([picture.frame for picture in drawn]), device)
        for image, picture, rows in zip(images, drawn, patches.to(torch.float16).cpu().numpy(), strict=True):
            positions = _covered(picture.cover, math.isqrt(len(rows)))
            found.append((rows[positions], np.full(len(positions), image), positions))
        if progress:
            progress(start + len(drawn), pictures)
    return DefectPatches(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _square(path: Path, number: int, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    square: NDArray[np.uint8] = preprocessing.squares(preprocessing(read_image(path)))[number]
    return square


def _covered(cover: NDArray[np.float32], grid: int) -> NDArray[np.intp]:
    shares = cv2.resize(cover, (grid, grid), interpolation=cv2.INTER_AREA)
    return np.flatnonzero(shares > COVERED)


@contextmanager
def feature_store(
    squares: int, grid: int, channels: int, folder: Path, limit: int = MEMORY_LIMIT
) -> Iterator[NDArray[np.float16]]:
    """Room for the features of so many network inputs: memory up to `limit` bytes, else a temporary file in `folder`.

    Raises DataError where the disk has no room for that file.
    """
    shape = (squares, grid * grid, channels)
    size = math.prod(shape) * np.dtype(np.float16).itemsize
    if size <= limit:
        yield np.empty(shape, np.float16)
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            # A mapped file that only seems to have room kills the process when the disk is full.
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise DataError(
                f"{folder}: no room for {size >> 20} MiB of features ({error.strerror}); free some, or train on fewer"
            ) from None
        yield np.memmap(file, np.float16, "r+", shape=shape)


@torch.inference_mode()
def patch_features(backbone: nn.Module, frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Patch features float32 `(N, P, C)` of RGB uint8 frames `(N, S, S, 3)` (SimpleNet section 3.1).

    Each level is averaged over its 3x3 neighbourhood (eq. 2), level 3 is resized bilinearly to level 2's grid, and both
    are concatenated (eq. 3).
    """
    level2, level3 = backbone(normalise(frames, device))
    level2, level3 = (functional.avg_pool2d(level, 3, 1, 1) for level in (level2, level3))
    level3 = functional.interpolate(level3, level2.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([level2, level3], dim=1).flatten(2).transpose(1, 2).contiguous()


def normalise(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """RGB uint8 `(N, S, S, 3)` to float32 `(N, 3, S, S)` with ImageNet's mean and deviation, as the graph does."""
    x = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (x - mean) / std
