"""What goes wrong with parts, drawn onto a `Draft` before it is lit, each returning exactly where it is.

A defect takes the draft and its own random numbers, changes the draft in place and returns a mask, bool `(H, W)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.demo.geometry import Field, cloud, float32, smoothstep
from edge.demo.shading import Draft, colour

Mask = NDArray[np.bool_]
Defect = Callable[[Draft, np.random.Generator], Mask]


def scratch(draft: Draft, rng: np.random.Generator) -> Mask:
    """A shallow score with raised sides, as sliding over another part leaves it."""
    start = _spot(draft, rng, 14)
    bend = rng.uniform(-0.9, 0.9)
    path = _walk(start, rng.uniform(0, 2 * np.pi), rng.uniform(90, 160), lambda: bend / 12 + rng.normal(0, 0.02))
    distance = _tapering(draft, path, rng.uniform(0.8, 1.3))
    groove = np.exp(-np.square(np.maximum(distance, 0) / 1.1))
    draft.relief += 0.6 * np.exp(-np.square((distance - 2) / 1.2)) - 2.0 * groove
    # Fresh metal is brighter than the skin around it, and a scored polymer turns white.
    draft.albedo += (0.09 * groove)[..., None]
    draft.gloss *= 1 + 0.4 * groove
    return (distance < 3) & (draft.solid < 0)


def dent(draft: Draft, rng: np.random.Generator) -> Mask:
    """A dull blow: a smooth hollow with a slightly raised rim."""
    u, v = _spot(draft, rng, 20)
    radius = rng.uniform(14, 22)
    stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    du, dv = draft.plane.u - u, draft.plane.v - v
    along, across = np.cos(turn) * du + np.sin(turn) * dv, np.cos(turn) * dv - np.sin(turn) * du
    reach = np.hypot(along, across / stretch) / radius
    hollow = rng.uniform(0.26, 0.38) * radius * np.exp(-((reach * 1.5) ** 2))
    draft.relief += float32(0.09 * radius * np.exp(-(((reach - 1.1) * 6) ** 2)) - hollow)
    return (reach < 1.35) & (draft.solid < 0)


def crack(draft: Draft, rng: np.random.Generator) -> Mask:
    """A jagged dark line that runs inwards from an edge or a hole and branches."""
    start, inward = _edge(draft, draft.solid, rng)
    trunk = _walk(start, inward, rng.uniform(55, 95), lambda: rng.normal(0, 0.32), stride=6)
    fork = int(rng.integers(3, len(trunk) - 3))
    side = inward + rng.choice([-1, 1]) * rng.uniform(0.6, 1.0)
    branch = _walk(trunk[fork], side, rng.uniform(20, 40), lambda: rng.normal(0, 0.3), stride=6)
    distance = np.minimum(_tapering(draft, trunk, 2.0), _tapering(draft, branch, 1.2))
    open_share = np.clip(0.5 - distance, 0, 1)
    draft.albedo *= (1 - 0.9 * open_share)[..., None]
    draft.gloss *= 1 - 0.95 * open_share
    draft.relief -= float32(1.2 * np.exp(-np.square(np.maximum(distance, 0) / 1.5)))
    return (distance < 1.5) & (draft.solid < 0)


def missing_hole(draft: Draft, rng: np.random.Generator) -> Mask:
    """A drilling step that was skipped."""
    names = [name for name in draft.holes if "bolt" in name or "hole" in name]
    hole = draft.holes.pop(str(rng.choice(names)))
    return hole < draft.bevel


def extra_hole(draft: Draft, rng: np.random.Generator) -> Mask:
    """A hole that belongs to another variant of the part."""
    radius = rng.uniform(8, 12)
    hole = draft.plane.circle(*_spot(draft, rng, radius + draft.bevel + 4), radius)
    draft.holes["extra"] = hole
    return hole < draft.bevel


def stain(draft: Draft, rng: np.random.Generator) -> Mask:
    """Dried coolant or oil: a brownish film that is darkest along its rim."""
    film = _blob(draft, _spot(draft, rng, 16), rng.uniform(20, 34), rng)
    share = smoothstep(-film / 3)
    rim = np.exp(-(((film + 4) / 3) ** 2))
    patchy = 0.42 + 0.1 * draft.plane.sample(cloud(rng, 14))
    dark = (patchy * share + 0.25 * rim * (film < 2))[..., None]
    draft.albedo *= 1 - dark * (1 - 0.5 * colour(1.0, 0.7, 0.35))
    draft.gloss *= 1 - 0.55 * share
    return (film < 0) & (draft.solid < 0)


def heat_tint(draft: Draft, rng: np.random.Generator) -> Mask:
    """Annealing colours of an overheated surface: straw outside, then brown, violet and blue."""
    reach = -_blob(draft, _spot(draft, rng, 24), rng.uniform(42, 58), rng, ragged=0.1) / 40
    bands = np.stack([colour(1, 1, 1), colour(1.0, 0.8, 0.42), colour(0.72, 0.45, 0.38), colour(0.38, 0.42, 0.75)])
    stops = np.array([0, 0.3, 0.65, 1.0])
    tint = np.stack([np.interp(reach, stops, bands[:, channel]) for channel in range(3)], -1)
    draft.albedo *= float32(tint)
    draft.gloss *= float32(tint.mean(-1))
    return (reach > 0.05) & (draft.solid < 0)


def bleached(draft: Draft, rng: np.random.Generator) -> Mask:
    """Stress whitening of a polymer: a pale veil where it was bent."""
    reach = smoothstep(-_blob(draft, _spot(draft, rng, 14), rng.uniform(24, 36), rng) / 16)
    pale = (0.35 * reach)[..., None]
    draft.albedo += pale * (draft.albedo.max() * 0.4 + 0.25 - draft.albedo)
    return (reach > 0.05) & (draft.solid < 0)


def chip(draft: Draft, rng: np.random.Generator) -> Mask:
    """A piece broken out of an outer edge, with a rough slope where it came off."""
    before = draft.solid
    point, _ = _edge(draft, draft.outline, rng)
    bite = _blob(draft, point, rng.uniform(13, 20), rng)
    draft.outline = np.maximum(draft.outline, -bite)
    slope = smoothstep(1 - bite / 7)
    rough = draft.plane.sample(cloud(rng, 4))
    draft.relief -= float32(slope * (4 + 0.8 * rough))
    draft.gloss *= 1 - 0.5 * slope
    return (bite < 7) & (before < 0)


def burr(draft: Draft, rng: np.random.Generator) -> Mask:
    """Ragged material that stands out beyond an edge: a burr of metal, or flash of a moulded part."""
    before = draft.solid
    point, _ = _edge(draft, draft.outline, rng)
    reach = draft.plane.circle(point[0], point[1], 0) / rng.uniform(24, 38)
    ragged = 0.65 + 0.35 * draft.plane.sample(cloud(rng, 5))
    lip = rng.uniform(7, 11) * smoothstep(1.6 * (1 - reach)) * ragged
    draft.outline = float32(draft.outline - lip)
    # The bevel under the lip is pushed outwards with it.
    return (draft.solid < 0) & (before > -draft.bevel) & (lip > 0.7)


def cut(draft: Draft, rng: np.random.Generator) -> Mask:
    """A gasket cut through: a slit from an edge inwards that gapes a little."""
    start, inward = _edge(draft, draft.solid, rng)
    path = _walk(start, inward, rng.uniform(30, 44), lambda: rng.normal(0, 0.05))
    slit = _tapering(draft, path, rng.uniform(2.0, 3.0))
    before = draft.solid
    draft.holes["cut"] = slit
    return (slit < draft.bevel) & (before < 0)


def missing_pin(draft: Draft, rng: np.random.Generator) -> Mask:
    """A contact that was not inserted: the cavity is empty."""
    pin = draft.inlays.pop(_any_pin(draft, rng))
    return pin.distance < 1


def bent_pin(draft: Draft, rng: np.random.Generator) -> Mask:
    """A contact pressed to one side: it lies across its cavity and catches the light along its length."""
    name = _any_pin(draft, rng)
    pin = draft.inlays[name]
    row, column = divmod(int(np.argmin(pin.distance)), pin.distance.shape[1])
    foot = np.array([draft.plane.u[row, column], draft.plane.v[row, column]])
    turn = rng.uniform(0, 2 * np.pi)
    tip = foot + rng.uniform(11, 15) * np.array([np.cos(turn), np.sin(turn)])
    lying = draft.plane.polyline(np.stack([foot, tip])) - 6
    draft.inlays[name] = replace(pin, distance=float32(lying))
    return np.minimum(lying, pin.distance) < 1


def _any_pin(draft: Draft, rng: np.random.Generator) -> str:
    return str(rng.choice([name for name in draft.inlays if name.endswith("pin")]))


def _spot(draft: Draft, rng: np.random.Generator, depth: float) -> tuple[float, float]:
    """A place on the part at least `depth` pixels from every edge, or as far inside as the part is wide there."""
    solid = draft.solid
    row, column = rng.choice(np.argwhere(solid < max(-depth, 0.8 * float(solid.min()))))
    return float(draft.plane.u[row, column]), float(draft.plane.v[row, column])


def _edge(draft: Draft, distance: Field, rng: np.random.Generator) -> tuple[NDArray[np.floating], float]:
    """A place on the edge of `distance`, and the heading that leads inwards there, in the part's coordinates."""
    row, column = rng.choice(np.argwhere(abs(distance) < 0.7))
    down = float(distance[row + 1, column] - distance[row - 1, column])
    right = float(distance[row, column + 1] - distance[row, column - 1])
    heading = float(np.arctan2(-down, -right)) - draft.plane.angle
    return np.array([draft.plane.u[row, column], draft.plane.v[row, column]]), heading


def _walk(
    start: NDArray[np.floating] | tuple[float, float],
    heading: float,
    length: float,
    turn: Callable[[], float],
    stride: float = 12,
) -> NDArray[np.floating]:
    """Points `(N, 2)` of a line that starts at `start` and changes its heading by `turn` radians at each stride."""
    points = [np.asarray(start, float)]
    for _ in range(max(2, round(length / stride))):
        heading += turn()
        points.append(points[-1] + stride * np.array([np.cos(heading), np.sin(heading)]))
    return np.stack(points)


def _tapering(draft: Draft, path: NDArray[np.floating], width: float) -> Field:
    """Distance to a line `width` wide at its start that runs out to nothing at its end; negative inside."""
    distance = np.full(draft.plane.u.shape, np.inf, np.float32)
    last = len(path) - 1
    for index in range(last):
        segment = draft.plane.polyline(path[index : index + 2]) - width * (1 - 0.8 * index / last)
        np.minimum(distance, segment, out=distance)
    return distance


def _blob(
    draft: Draft,
    centre: NDArray[np.floating] | tuple[float, float],
    radius: float,
    rng: np.random.Generator,
    ragged: float = 0.22,
) -> Field:
    """Distance to a disc, roughly, whose outline wanders by the share `ragged` of its radius."""
    wander = draft.plane.sample(0.8 * cloud(rng, 20) + 0.3 * cloud(rng, 6))
    return float32(draft.plane.circle(float(centre[0]), float(centre[1]), radius) + ragged * radius * wander)


DEFECTS: dict[str, dict[str, Defect]] = {
    "flange": {
        "scratch": scratch,
        "dent": dent,
        "crack": crack,
        "missing_hole": missing_hole,
        "stain": stain,
        "chip": chip,
        "heat_tint": heat_tint,
    },
    "plate": {
        "scratch": scratch,
        "dent": dent,
        "extra_hole": extra_hole,
        "missing_hole": missing_hole,
        "stain": stain,
        "burr": burr,
    },
    "connector": {
        "missing_pin": missing_pin,
        "bent_pin": bent_pin,
        "crack": crack,
        "chip": chip,
        "scratch": scratch,
        "bleached": bleached,
    },
    "gasket": {"cut": cut, "chip": chip, "burr": burr, "stain": stain, "bleached": bleached, "dent": dent},
}
