"""Plots of what was measured, as SVG that reads on light and dark pages: a lane for each thing, a dot a measurement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#3b76c4", "#d1495b", "#2e9c6d", "#c98a1b")
_WIDTH, _LEFT, _RIGHT, _LANE, _TOP = 860, 250, 30, 26, 46
_GREY = "#808a96"


@dataclass(frozen=True)
class Axis:
    """What the dots' places mean. Values beyond `low` and `high` are drawn at the end; `strong` is a thicker tick."""

    title: str
    ticks: Sequence[float]
    low: float
    high: float
    log: bool = False
    strong: float | None = None

    def x(self, value: float) -> float:
        """Where a value lies, in the drawing's units."""
        place = (self._scaled(min(max(value, self.low), self.high)) - self._scaled(self.low)) / (
            self._scaled(self.high) - self._scaled(self.low)
        )
        return _LEFT + place * (_WIDTH - _LEFT - _RIGHT)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else value


@dataclass(frozen=True)
class Dot:
    """One measurement; `kind` is an index into the plot's kinds, `label` is shown under the mouse."""

    value: float
    kind: int
    label: str


@dataclass(frozen=True)
class Lane:
    """What was measured, and its measurements."""

    name: str
    dots: Sequence[Dot]


def lane_plot(axis: Axis, lanes: Sequence[Lane], kinds: Sequence[str]) -> str:
    """Draw the lanes from top to bottom, under the axis' title and a key of the kinds' colours."""
    height = _TOP + _LANE * len(lanes) + 40
    body = [*_key(axis.title, kinds), *_ticks(axis, height - 34)]
    for index, lane in enumerate(lanes):
        body += _lane(axis, lane, _TOP + _LANE * (index + 0.5))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="{_GREY}" role="img" aria-label="{escape(axis.title)}">{"".join(body)}</svg>\n'
    )


def _key(title: str, kinds: Sequence[str]) -> list[str]:
    body, x = [f'<text x="{_LEFT}" y="16">{escape(title)}</text>'], _LEFT
    for kind, colour in zip(kinds, COLOURS, strict=False):
        body.append(f'<circle cx="{x + 5}" cy="30" r="4" fill="{colour}"/><text x="{x + 16}" y="34">{kind}</text>')
        x += 40 + 7 * len(kind)
    return body


def _ticks(axis: Axis, bottom: float) -> list[str]:
    return [
        f'<line x1="{axis.x(tick):.1f}" x2="{axis.x(tick):.1f}" y1="{_TOP}" y2="{bottom}" stroke="{_GREY}" '
        f'stroke-opacity="{0.9 if tick == axis.strong else 0.25}"/>'
        f'<text x="{axis.x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'
        for tick in axis.ticks
    ]


def _lane(axis: Axis, lane: Lane, y: float) -> list[str]:
    name = f'<text x="{_LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(lane.name)}</text>'
    return [name, *(_dot(axis, dot, y) for dot in lane.dots)]


def _dot(axis: Axis, dot: Dot, y: float) -> str:
    return (
        f'<circle cx="{axis.x(dot.value):.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[dot.kind]}" fill-opacity="0.75">'
        f"<title>{escape(dot.label)}</title></circle>"
    )
