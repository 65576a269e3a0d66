"""How a drawn part is lit and photographed: relief, material and lamps in, an 8-bit picture out.

The lamps are a bar light over one side of the station, a weaker one opposite and the room's own light. Brightness
is linear until `photograph` exposes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.demo.geometry import SIZE, Field, Plane, cloud, coverage, float32, pixel_grid, smoothstep

_CAMERA_HEIGHT = 1500.0
_LAMP_DISTANCE = 900.0


@dataclass(frozen=True)
class Inlay:
    """Something of another material set into the part: `height` is its rise in pixels, `dome` its rounding's width."""

    distance: Field
    height: float
    dome: float
    albedo: Field
    gloss: float


@dataclass
class Draft:
    """A part before it is lit. Fields are float32 `(H, W)`, colours `(H, W, 3)` in BGR from 0 to 1.

    `outline` is the solid's signed distance, `holes` are cut out of it. `relief` is the height above the face in
    pixels. `gloss` scales the highlight, `grooves` are the unit directions of its machining marks (a surface
    without them mirrors alike in all directions), `roughness` is the highlight's half width in radians.
    """

    plane: Plane
    outline: Field
    relief: Field
    albedo: Field
    gloss: Field
    background: Field
    roughness: float
    grooves: tuple[Field, Field] | None = None
    bevel: float = 3.0
    thickness: float = 14.0
    holes: dict[str, Field] = field(default_factory=dict)
    inlays: dict[str, Inlay] = field(default_factory=dict)

    @property
    def solid(self) -> Field:
        """Signed distance of the part with its holes cut out."""
        distance = self.outline
        for hole in self.holes.values():
            distance = np.maximum(distance, -hole)
        return distance


@dataclass(frozen=True)
class Light:
    """The station's lamps; angles in radians, strengths relative to a well exposed picture."""

    azimuth: float
    elevation: float
    key: float
    fill: float
    room: float

    @classmethod
    def jittered(cls, rng: np.random.Generator) -> Light:
        """Lamps as they vary from part to part: the mount gives a little, the mains and the age a little more."""
        return cls(
            azimuth=float(np.deg2rad(rng.normal(-125, 4))),
            elevation=float(np.deg2rad(rng.normal(52, 1.5))),
            key=float(rng.normal(1.0, 0.04)),
            fill=float(rng.normal(0.35, 0.02)),
            room=float(rng.normal(0.33, 0.02)),
        )

    def lamps(self) -> tuple[tuple[NDArray[np.float32], float], ...]:
        """Position `(3,)` and strength of each lamp."""
        return (
            (_position(self.azimuth, self.elevation), self.key),
            (_position(self.azimuth + np.pi * 0.93, self.elevation * 0.9), self.fill),
        )


def light_up(draft: Draft, light: Light) -> Field:
    """Linear BGR radiance `(H, W, 3)` of the part on its background."""
    solid = draft.solid
    inside = coverage(solid)[..., None]
    return _part(draft, solid, light) * inside + _ground(draft, solid, light) * (1 - inside)


def photograph(radiance: Field, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Expose linear radiance as a camera does: lens blur, vignetting, white balance, shot and read noise, gamma."""
    x, y = pixel_grid()
    off_axis = ((x - SIZE / 2) ** 2 + (y - SIZE / 2) ** 2) / (SIZE / 2) ** 2
    vignette = 1 / (1 + 0.11 * off_axis) ** 2
    gain = float32(rng.normal(1.0, 0.025) * rng.normal(1.0, 0.008, 3))
    exposed = cv2.GaussianBlur(radiance, (0, 0), rng.uniform(0.55, 0.75)) * vignette[..., None] * gain
    noise = rng.standard_normal(exposed.shape, np.float32)
    noisy = exposed + noise * np.sqrt(0.00012 * np.maximum(exposed, 0) + 0.000012)
    levels = (np.clip(noisy, 0, 1.6) * (_LEVELS / 1.6)).astype(np.uint16)
    return _response()[levels]


_LEVELS = 65535


def _response() -> NDArray[np.uint8]:
    """The camera's curve from linear light, 0 to 1.6 in 65536 levels, to 8 bit.

    A gamma with a shoulder instead of a hard clip: highlights fade into white. A table, because the power of
    each channel of each pixel costs half as much as the whole lighting.
    """
    curve = np.linspace(0, 1.6, _LEVELS + 1) ** (1 / 2.1)
    shoulder = np.where(curve > 0.8, 0.8 + 0.2 * np.tanh((curve - 0.8) / 0.2), curve)
    return np.rint(shoulder * 255).astype(np.uint8)


def _part(draft: Draft, solid: Field, light: Light) -> Field:
    height = draft.relief + draft.bevel * smoothstep(-solid / draft.bevel)
    albedo, gloss = draft.albedo, draft.gloss
    for inlay in draft.inlays.values():
        share = coverage(inlay.distance)
        height = height + inlay.height * smoothstep(-inlay.distance / inlay.dome)
        albedo = albedo + (inlay.albedo - albedo) * share[..., None]
        gloss = gloss + (inlay.gloss - gloss) * share
    normal = _normals(height)
    x, y = pixel_grid()
    radiance = albedo * (light.room * _occlusion(height))[..., None]
    # Metals tint what they mirror.
    sheen = 0.25 + 0.75 * albedo / albedo.max(-1, keepdims=True)
    for position, strength in light.lamps():
        to_lamp = _unit(np.stack([position[0] - x, position[1] - y, position[2] - height], -1))
        to_eye = _unit(np.stack([SIZE / 2 - x, SIZE / 2 - y, np.full_like(x, _CAMERA_HEIGHT)], -1))
        diffuse = np.maximum(_dot(normal, to_lamp), 0) * strength
        shine = gloss * _highlight(draft, normal, _unit(to_lamp + to_eye)) * strength
        radiance += albedo * diffuse[..., None] * 0.75 + shine[..., None] * sheen
    return radiance


def _highlight(draft: Draft, normal: Field, half: Field) -> Field:
    """Ward's lobe: narrow along the machining marks and wide across them, or round where there are none."""
    upright = np.maximum(_dot(normal, half), 1e-3)
    if draft.grooves is None:
        tilt = (1 - upright**2) / upright**2
        return np.exp(-tilt / draft.roughness**2)
    gx, gy = draft.grooves
    # What the half vector lacks to the normal, split along and across the marks.
    dx, dy = half[..., 0] - upright * normal[..., 0], half[..., 1] - upright * normal[..., 1]
    along, across = dx * gx + dy * gy, dx * gy - dy * gx
    wide = draft.roughness * 3.2
    return float32(np.exp(-((along / draft.roughness) ** 2 + (across / wide) ** 2) / upright**2))


def _ground(draft: Draft, solid: Field, light: Light) -> Field:
    lit = draft.background * (light.room + 0.75 * light.key * np.sin(light.elevation))
    position = _position(light.azimuth, light.elevation)
    dx, dy = (SIZE / 2 - position[:2]) * draft.thickness / position[2]
    shift = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    inside = coverage(solid)
    cast = cv2.warpAffine(inside, shift, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(cast, (0, 0), draft.thickness * 0.22)
    contact = cv2.GaussianBlur(inside, (0, 0), draft.thickness * 0.6)
    return lit * ((1 - 0.62 * soft) * (1 - 0.5 * contact))[..., None]


def _occlusion(height: Field) -> Field:
    """Share of the room's light that reaches the bottom of a recess, from how far its surroundings rise above it."""
    dark = np.zeros_like(height)
    for sigma in (3.0, 10.0):
        dark += np.maximum(cv2.GaussianBlur(height, (0, 0), sigma) - height, 0) / np.float32(sigma)
    return float32(np.exp(-0.9 * dark))


def _normals(height: Field) -> Field:
    dx = cv2.Scharr(height, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(height, cv2.CV_32F, 0, 1, scale=1 / 32)
    return _unit(np.stack([-dx, -dy, np.ones_like(dx)], -1))


def _position(azimuth: float, elevation: float) -> NDArray[np.float32]:
    reach = _LAMP_DISTANCE * np.cos(elevation)
    return np.array(
        [SIZE / 2 + reach * np.cos(azimuth), SIZE / 2 + reach * np.sin(azimuth), _LAMP_DISTANCE * np.sin(elevation)],
        np.float32,
    )


def _unit(vectors: Field) -> Field:
    return float32(vectors / np.sqrt(_dot(vectors, vectors))[..., None])


def _dot(a: Field, b: Field) -> Field:
    return np.einsum("...i,...i->...", a, b)


def colour(red: float, green: float, blue: float) -> Field:
    """A colour as linear BGR `(3,)`, from 0 to 1."""
    return np.array([blue, green, red], np.float32)


def belt(rng: np.random.Generator) -> Field:
    """A dark, woven conveyor belt with some dust: background `(H, W, 3)`."""
    x, y = pixel_grid()
    phase = rng.uniform(0, 2 * np.pi, 2)
    weave = np.sin(x * 0.9 + phase[0]) * np.sin(y * 0.9 + phase[1])
    worn = cloud(rng, 60, (SIZE, SIZE))
    fine = cloud(rng, 2, (SIZE, SIZE))
    dust = np.maximum(cloud(rng, 2, (SIZE, SIZE)) - 3.6, 0)
    value = 0.052 + 0.006 * weave + 0.004 * worn + 0.005 * fine + 0.05 * dust
    return float32(np.maximum(value, 0.01))[..., None] * colour(0.95, 1.0, 1.05)


def table(rng: np.random.Generator, tint: Field) -> Field:
    """A matt, even table top of colour `tint` with the slight marks of use: background `(H, W, 3)`."""
    value = 1 + 0.015 * cloud(rng, 90, (SIZE, SIZE)) + 0.012 * cloud(rng, 2, (SIZE, SIZE))
    return value[..., None] * tint
