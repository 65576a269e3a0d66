"""Defects drawn onto photographs of good parts, to train against: the customer's own pictures are the only material.

Each is a ragged spot or a stroke, filled with another place of the same photograph (cut and paste: CutPaste,
arXiv 2104.04015), with a texture made of noise, or with the same surface lighter or darker. Nothing is taken from any
other data set. `benchmarks/bench_recipe.py` judges recipes on defects that another generator draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

DEFECTS_PER_PICTURE = 3


@dataclass(frozen=True)
class Drawn:
    """A frame with defects, RGB uint8 `(S, S, 3)`, and how much of each pixel they are, float32 `(S, S)`, 0 to 1."""

    frame: NDArray[np.uint8]
    cover: Image


def draw_defects(frame: NDArray[np.uint8], rng: np.random.Generator) -> Drawn:
    """Draw some defects onto an RGB uint8 frame `(S, S, 3)`, which itself stays as it is."""
    picture, cover = frame.astype(np.float32), np.zeros(frame.shape[:2], np.float32)
    for _ in range(DEFECTS_PER_PICTURE):
        shape = _SHAPES[rng.integers(len(_SHAPES))](len(frame), rng)
        filling = _FILLINGS[rng.choice(len(_FILLINGS), p=_SHARES)](frame, rng)
        opacity = (rng.uniform(0.35, 1) * shape)[..., None]
        picture += opacity * (filling - picture)
        np.maximum(cover, shape, out=cover)
    return Drawn(picture.clip(0, 255).round().astype(np.uint8), cover)


def _spot(size: int, rng: np.random.Generator) -> Image:
    """A ragged disc or ellipse of 2 to 12 % of the frame's side."""
    width = size * np.exp(rng.uniform(np.log(0.02), np.log(0.12))) / 2
    along, across = _axes(size, rng)
    reach = np.hypot(along / rng.uniform(1, 2.5), across)
    return _inside(width * (1 + 0.45 * cloud(size, max(4, 1.2 * width), rng)) - reach, rng)


def _stroke(size: int, rng: np.random.Generator) -> Image:
    """A long, narrow, wavy line that is widest in its middle."""
    width = size * np.exp(rng.uniform(np.log(0.015), np.log(0.04))) / 2
    along, across = _axes(size, rng)
    across = across + 1.2 * width * rng.uniform(0, 2) * np.sin(along / (width * rng.uniform(4, 10)) + rng.uniform(0, 6))
    reach = np.hypot(along / rng.uniform(5, 14), across)
    return _inside(width * (1 + 0.2 * cloud(size, 8, rng)) - reach, rng)


def _axes(size: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """Coordinates of every pixel along and across a direction, from a place in the frame, both drawn."""
    x, y = rng.uniform(0.06 * size, 0.94 * size, 2)
    turn = rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    return cos * (columns - x) + sin * (rows - y), cos * (rows - y) - sin * (columns - x)


def _inside(depth: Image, rng: np.random.Generator) -> Image:
    """1 where `depth` (in pixels) is well above zero, 0 well below, with an edge that is sharp or soft."""
    softness = rng.uniform(1, 3) if rng.random() < 0.7 else rng.uniform(4, 10)
    return np.asarray(np.clip(0.5 + depth / softness, 0, 1), np.float32)


def _cut(frame: NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """The same photograph moved, turned, scaled and lit differently, so that another place of it lies here."""
    size = len(frame)
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), rng.uniform(0, 360), rng.uniform(0.7, 1.4))
    matrix[:, 2] += rng.uniform(-0.35 * size, 0.35 * size, 2)
    moved = cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return moved.astype(np.float32) * np.float32(rng.uniform(0.7, 1.3)) + np.float32(rng.uniform(-20, 20))


def _texture(frame: NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """Noise, sometimes striped, around a colour of the photograph that is lightened or darkened."""
    size = len(frame)
    relief = cloud(size, np.exp(rng.uniform(np.log(2), np.log(40))), rng)
    if rng.random() < 0.5:
        along, _ = _axes(size, rng)
        relief = 0.6 * relief + np.sin(along * rng.uniform(0.2, 1.6))
    tone = frame.reshape(-1, 3)[rng.integers(size * size)] + rng.normal(0, 45)
    if np.ptp(frame, axis=2).max() > 5:  # not a grey camera's
        tone = tone + rng.normal(0, 20, 3)
    return np.asarray(tone + relief[..., None] * rng.uniform(5, 45), np.float32)


def _tone(frame: NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """The same surface, lighter or darker."""
    gain = np.exp(rng.choice([-1, 1]) * rng.uniform(0.2, 0.8))
    return frame * np.float32(gain) + np.float32(rng.normal(0, 8))


def cloud(size: int, scale: float, rng: np.random.Generator) -> Image:
    """Smooth noise `(size, size)` of mean 0 and deviation 1, whose structures are about `scale` pixels wide."""
    cells = max(2, round(size / scale))
    coarse = rng.standard_normal((cells, cells)).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.asarray((smooth - smooth.mean()) / max(float(smooth.std()), 1e-6), np.float32)


_SHAPES: tuple[Callable[[int, np.random.Generator], Image], ...] = (_spot, _spot, _stroke)
_FILLINGS: tuple[Callable[[NDArray[np.uint8], np.random.Generator], Image], ...] = (_cut, _texture, _tone)
_SHARES = (0.5, 0.3, 0.2)
