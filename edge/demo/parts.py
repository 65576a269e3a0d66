"""Photographs of industrial parts, good and defective, drawn by code.

part = render("flange", np.random.default_rng(7), defect="scratch")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.defects import DEFECTS
from edge.demo.kinds import KINDS
from edge.demo.shading import Light, light_up, photograph
from engines.errors import DataError, UsageError


@dataclass(frozen=True)
class Part:
    """One photograph: BGR uint8 `(H, W, 3)`; its mask, uint8 `(H, W)`, 255 on the defect; `defect` None if good."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    defect: str | None


def render(kind: str, rng: np.random.Generator, defect: str | None = None) -> Part:
    """Draw one part of `kind` and photograph it.

    From generators of the same seed the part, its place, light and sensor noise are the same with and without a
    defect, so that the two pictures differ by the defect alone. Raises UsageError for an unknown kind or defect.
    """
    known = defects_of(kind)
    if defect is not None and defect not in known:
        raise UsageError(f"a {kind} has no defect {defect!r}; known: {', '.join(known)}")
    part_rng, light_rng, defect_rng, camera_rng = rng.spawn(4)
    draft = KINDS[kind](part_rng)
    mask = np.zeros(draft.outline.shape, bool)
    if defect is not None:
        mask = DEFECTS[kind][defect](draft, defect_rng)
    radiance = light_up(draft, Light.jittered(light_rng))
    return Part(photograph(radiance, camera_rng), mask.astype(np.uint8) * 255, defect)


def defects_of(kind: str) -> tuple[str, ...]:
    """Names of the defects that `kind` can have. Raises UsageError for an unknown kind."""
    if kind not in KINDS:
        raise UsageError(f"no kind of part {kind!r}; known: {', '.join(KINDS)}")
    return tuple(DEFECTS[kind])


def render_many(kind: str, seed: int, defects: Sequence[str | None]) -> Iterator[Part]:
    """Draw one part for each entry of `defects` (None is a good one), in that order, on all processor cores."""
    defects_of(kind)
    streams = np.random.default_rng(seed).spawn(len(defects))
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda stream, defect: render(kind, stream, defect), streams, defects)


def write_dataset(folder: Path, kind: str, *, train: int, good: int, defective: int, seed: int = 0) -> None:
    """Write photographs of `kind` under `folder` in MVTec AD's layout.

    `train` good ones to learn from, `good` good ones to test with and `defective` ones, the kinds of defects taking
    turns. Masks go to `ground_truth/<defect>/<name>_mask.png`. Raises DataError where `folder` already holds files.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"expected an empty or a new folder at {folder}, found files in it; remove it or name another")
    names = defects_of(kind)
    defects = [None] * (train + good) + [names[index % len(names)] for index in range(defective)]
    for index, part in enumerate(render_many(kind, seed, defects)):
        split = "train" if index < train else "test"
        label = part.defect or "good"
        write_image(folder / split / label / f"{index:03d}.png", part.image)
        if part.defect:
            write_image(folder / "ground_truth" / label / f"{index:03d}_mask.png", part.mask)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a PNG, making its folder. Raises DataError where the disk does not take it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); free some space or name another folder"
        ) from None


def encode_image(image: NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG."""
    # Level 1: sensor noise hardly compresses, and higher levels take three times as long for 3 % less.
    return cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
