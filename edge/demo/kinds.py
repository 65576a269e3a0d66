"""The kinds of parts the demonstration can draw, each as a `Draft` that is still to be lit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.demo.geometry import Field, Plane, brushed, cloud, float32, profile_noise, smoothstep
from edge.demo.shading import Draft, Inlay, belt, colour, table


def flange(rng: np.random.Generator) -> Draft:
    """A turned steel flange: raised hub, bore with keyway, six bolt holes, the lathe's concentric marks."""
    plane = Plane.posed(rng, shift=6, turn=3)
    radius = plane.radius
    steps = np.interp(radius, [0, 62, 66, 108, 114, 126, 130, 400], [24, 24, 26, 26, 8, 8, 6, 6])
    marks = profile_noise(rng, 800, 0.8) + 0.35 * profile_noise(rng, 800, 3)
    micro = np.interp(radius * 2, np.arange(800), marks)
    uneven = plane.sample(cloud(rng, 120))
    tone = 0.12 * (1 + 0.05 * micro + 0.03 * uneven)
    holes = {"bore": np.minimum(plane.circle(0, 0, 56), plane.box(0, -58, (10, 10), 1))}
    for index in range(6):
        turn = np.pi / 3 * index + np.pi / 6
        holes[f"bolt {index + 1}"] = plane.circle(162 * np.cos(turn), 162 * np.sin(turn), 17)
    away = np.maximum(radius, 1)
    u, v = plane.u / away, plane.v / away
    cos, sin = np.cos(plane.angle), np.sin(plane.angle)
    return Draft(
        plane=plane,
        outline=float32(radius - 212),
        relief=float32(steps + 0.05 * micro),
        albedo=float32(tone)[..., None] * colour(1.0, 0.99, 0.96),
        gloss=float32(0.34 * (1 + 0.12 * micro + 0.06 * uneven)),
        background=belt(rng),
        roughness=0.17,
        grooves=(float32(-(cos * v + sin * u)), float32(cos * u - sin * v)),
        bevel=5,
        thickness=26,
        holes=holes,
    )


def plate(rng: np.random.Generator) -> Draft:
    """A brushed aluminium plate: two slots, four corner holes, a milled pocket with an engraved line."""
    plane = Plane.posed(rng, shift=6, turn=2.5)
    streaks = plane.sample(brushed(rng, 61))
    uneven = plane.sample(cloud(rng, 140))
    pocket = plane.box(0, 0, (74, 52), 16)
    relief = -6 * smoothstep(-pocket / 5) + 0.035 * streaks
    tone = 0.27 * (1 + 0.035 * streaks + 0.02 * uneven)
    holes = {
        "left slot": plane.box(-134, 0, (14, 74), 14),
        "right slot": plane.box(134, 0, (14, 74), 14),
    }
    for name, x, y in (("upper left", -1, -1), ("upper right", 1, -1), ("lower left", -1, 1), ("lower right", 1, 1)):
        holes[f"{name} hole"] = plane.circle(180 * x, 122 * y, 13)
    cos, sin = np.float32(np.cos(plane.angle)), np.float32(np.sin(plane.angle))
    return Draft(
        plane=plane,
        outline=plane.box(0, 0, (210, 152), 24),
        relief=float32(relief),
        albedo=float32(tone)[..., None] * colour(1.0, 0.99, 0.98),
        gloss=float32(0.26 * (1 + 0.13 * streaks + 0.05 * uneven)),
        background=belt(rng),
        roughness=0.34,
        grooves=(np.full_like(plane.u, cos), np.full_like(plane.u, sin)),
        bevel=3,
        thickness=14,
        holes=holes,
    )


def connector(rng: np.random.Generator) -> Draft:
    """A moulded connector housing: glass-filled plastic, a cavity with two rows of gilt pins, screw eyes, a key."""
    plane = Plane.posed(rng, shift=5, turn=2.5)
    grain, flow = plane.sample(cloud(rng, 2)), plane.sample(cloud(rng, 90))
    ears = np.minimum(plane.circle(-170, 0, 42), plane.circle(170, 0, 42))
    outline = np.minimum(np.minimum(plane.box(0, 0, (148, 104), 20), ears), plane.box(0, 0, (172, 34), 4))
    cavity = np.minimum(plane.box(0, 0, (122, 72), 12), plane.box(0, -74, (20, 12), 3))
    relief = 10 * smoothstep(-plane.box(0, 0, (144, 100), 18) / 4) - 26 * smoothstep(-cavity / 5)
    relief += 12 * smoothstep(-plane.box(0, 0, (108, 56), 6) / 4) + 0.13 * grain
    tone = 0.045 * (1 + 0.06 * grain + 0.05 * flow)
    return Draft(
        plane=plane,
        outline=float32(outline),
        relief=float32(relief),
        albedo=float32(tone)[..., None] * colour(1.0, 1.02, 1.06),
        gloss=float32(0.035 * (1 + 0.15 * grain + 0.08 * flow)),
        background=table(rng, 0.36 * colour(0.93, 1.0, 1.03)),
        roughness=0.34,
        bevel=4,
        thickness=30,
        holes={"left eye": plane.circle(-178, 0, 16), "right eye": plane.circle(178, 0, 16)},
        inlays=_pins(plane, rng),
    )


def _pins(plane: Plane, rng: np.random.Generator) -> dict[str, Inlay]:
    pins = {}
    for row, y in (("a", -27), ("b", 27)):
        for column in range(5):
            x = -84 + 42 * column
            name = f"{row}{column + 1}"
            pins[f"{name} cavity"] = Inlay(plane.circle(x, y, 14), -9, 4, colour(0.02, 0.02, 0.022), 0.02)
            dx, dy = rng.normal(0, 0.4, 2)
            pins[f"{name} pin"] = Inlay(plane.circle(x + dx, y + dy, 7.5), 15, 7, colour(0.62, 0.42, 0.14), 0.8)
    return pins


def gasket(rng: np.random.Generator) -> Draft:
    """A moulded silicone gasket with a sealing bead, six bolt eyes and two openings."""
    plane = Plane.posed(rng, shift=6, turn=3)
    grain, flow = plane.sample(cloud(rng, 2)), plane.sample(cloud(rng, 100))
    eyes = [(x, y) for x in (-176, 0, 176) for y in (-128, 128)]
    outline = plane.box(0, 0, (190, 128), 60)
    for x, y in eyes:
        outline = _blend(outline, plane.circle(x, y, 40), 14)
    large, small = plane.box(-62, 0, (88, 84), 40), plane.box(104, 0, (46, 84), 34)
    holes = {"large opening": large, "small opening": small}
    holes |= {f"eye {index + 1}": plane.circle(x, y, 16) for index, (x, y) in enumerate(eyes)}
    bead = np.minimum(abs(large - 15), abs(small - 15))
    relief = 5 * np.exp(-((bead / 4.0) ** 2)) + 0.09 * grain
    tone = 1 + 0.025 * grain + 0.03 * flow
    return Draft(
        plane=plane,
        outline=float32(outline),
        relief=float32(relief),
        albedo=float32(tone)[..., None] * colour(0.52, 0.13, 0.07),
        gloss=float32(0.07 * (1 + 0.1 * grain)),
        background=table(rng, 0.55 * colour(0.97, 1.0, 1.0)),
        roughness=0.42,
        bevel=5,
        thickness=12,
        holes=holes,
    )


def _blend(a: Field, b: Field, width: float) -> Field:
    """Union of two distances with a fillet of `width` between them."""
    share = np.clip(0.5 + 0.5 * (b - a) / width, 0, 1)
    return float32(b + (a - b) * share - width * share * (1 - share))


KINDS: dict[str, Callable[[np.random.Generator], Draft]] = {
    "flange": flange,
    "plate": plate,
    "connector": connector,
    "gasket": gasket,
}
