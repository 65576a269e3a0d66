"""Where a drawn part lies in the picture, the distances its outline is made of, and the noise of its surface.

Lengths are in pixels of the picture. Distances are signed: negative inside the shape, float32 of shape `(H, W)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]

SIZE = 512
# Textures reach beyond the picture, so that a part that is shifted and turned still finds them at its corners.
_REACH = SIZE // 2


@dataclass(frozen=True)
class Plane:
    """The part's own coordinates at every pixel: `u` and `v` float32 `(H, W)`, zero at the part's centre."""

    u: Field
    v: Field
    angle: float

    @classmethod
    def posed(cls, rng: np.random.Generator, shift: float, turn: float) -> Plane:
        """A part lying up to `shift` pixels off the centre, turned by up to `turn` degrees, scaled by up to 1 %."""
        dx, dy = rng.uniform(-shift, shift, 2)
        angle = float(np.deg2rad(rng.uniform(-turn, turn)))
        scale = 1 + rng.uniform(-0.01, 0.01)
        x, y = pixel_grid()
        x, y = (x - SIZE / 2 - dx) / scale, (y - SIZE / 2 - dy) / scale
        cos, sin = np.cos(angle), np.sin(angle)
        return cls(float32(cos * x + sin * y), float32(cos * y - sin * x), angle)

    @property
    def radius(self) -> Field:
        """Distance from the part's centre."""
        return np.hypot(self.u, self.v)

    def circle(self, x: float, y: float, radius: float) -> Field:
        """Distance to a disc."""
        return float32(np.hypot(self.u - x, self.v - y) - radius)

    def box(self, x: float, y: float, half: tuple[float, float], corner: float) -> Field:
        """Distance to a rectangle of half extents `half` whose corners are rounded by `corner`."""
        qx, qy = abs(self.u - x) - half[0] + corner, abs(self.v - y) - half[1] + corner
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        return float32(outside + np.minimum(np.maximum(qx, qy), 0) - corner)

    def polyline(self, points: NDArray[np.floating]) -> Field:
        """Distance to the nearest segment through `points` `(N, 2)`, never negative."""
        distance = np.full(self.u.shape, np.inf, np.float32)
        for (ax, ay), (bx, by) in pairwise(points):
            du, dv = bx - ax, by - ay
            along = np.clip(((self.u - ax) * du + (self.v - ay) * dv) / max(du * du + dv * dv, 1e-9), 0, 1)
            np.minimum(distance, np.hypot(self.u - ax - along * du, self.v - ay - along * dv), out=distance)
        return distance

    def sample(self, texture: Field) -> Field:
        """A texture made by one of the noises below, laid on the part so that it turns with it."""
        return cv2.remap(texture, self.u + _CENTRE, self.v + _CENTRE, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


_CENTRE = np.float32(SIZE / 2 + _REACH / 2)
_TEXTURE = SIZE + _REACH


def float32(values: NDArray[np.floating]) -> Field:
    """The same values in single precision."""
    return values.astype(np.float32)


def pixel_grid() -> tuple[Field, Field]:
    """Column and row of every pixel's centre."""
    ticks = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    columns, rows = np.meshgrid(ticks, ticks)
    return columns, rows


def coverage(distance: Field, softness: float = 1.0) -> Field:
    """Share of each pixel that lies inside, 0 to 1; the edge is `softness` pixels wide."""
    return np.clip(np.float32(0.5) - distance / np.float32(softness), 0, 1)


def smoothstep(values: NDArray[np.floating]) -> Field:
    """0 below 0, 1 above 1, and no kink between."""
    t = np.clip(values, 0, 1)
    return float32(t * t * (3 - 2 * t))


def cloud(rng: np.random.Generator, grain: float, shape: tuple[int, int] = (_TEXTURE, _TEXTURE)) -> Field:
    """Isotropic noise of unit deviation whose features are about `grain` pixels wide.

    Coarse noise is drawn small and enlarged: a Gaussian of sigma 40 on the full grid costs 50 times more.
    """
    step = max(1, int(grain // 3))
    small = rng.standard_normal((shape[0] // step + 2, shape[1] // step + 2), np.float32)
    if grain > 1:
        small = cv2.GaussianBlur(small, (0, 0), grain / step / 2, borderType=cv2.BORDER_REFLECT)
    noise = cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) if step > 1 else small
    return _unit(noise[: shape[0], : shape[1]])


def brushed(rng: np.random.Generator, length: int) -> Field:
    """Streaks of unit deviation along u, `length` pixels long and one wide, as a grinding belt leaves them."""
    noise = rng.standard_normal((_TEXTURE, _TEXTURE), np.float32)
    streaks = cv2.blur(noise, (length, 1)) * np.sqrt(np.float32(length))
    streaks += 0.6 * cv2.blur(cv2.GaussianBlur(noise, (1, 7), 0), (length * 3, 1)) * np.sqrt(np.float32(3 * length))
    return _unit(streaks)


def profile_noise(rng: np.random.Generator, points: int, grain: float) -> Field:
    """One-dimensional noise of unit deviation, for the marks that a lathe leaves at each radius."""
    noise = rng.standard_normal((1, points), np.float32)
    return _unit(cv2.GaussianBlur(noise, (0, 0), grain, borderType=cv2.BORDER_REFLECT))[0]


def _unit(noise: Field) -> Field:
    return float32((noise - noise.mean()) / max(float(noise.std()), 1e-9))
