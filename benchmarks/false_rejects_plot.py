"""The plot of promised against realised false-reject rates, as SVG that reads on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from benchmarks.results import Row

_WIDTH, _LEFT, _RIGHT, _LANE, _TOP = 860, 250, 30, 26, 46
_RANGE = (0.03, 30.0)
_KEPT, _BROKEN = "#3b76c4", "#d1495b"
_GREY = "#808a96"


def plot(rows: Sequence[Row]) -> str:
    """One lane a method and number of parts, one dot a law: realised mean over what was promised, on a log axis."""
    lanes: dict[tuple[str, int, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["method"].endswith("(not offered)"), row["method"])):
        lanes.setdefault((row["method"], row["n"], row["target"]), []).append(row)
    height = _TOP + _LANE * len(lanes) + 40
    body = _axis(height - 34)
    for index, (lane, found) in enumerate(lanes.items()):
        body += _lane(lane, found, _TOP + _LANE * (index + 0.5))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" fill="{_GREY}" role="img" aria-label="Realised over promised false-reject rates">'
        f"{''.join(body)}</svg>\n"
    )


def _axis(bottom: float) -> list[str]:
    ticks = [0.1, 0.3, 1, 3, 10]
    lines = [
        f'<line x1="{_x(value):.1f}" x2="{_x(value):.1f}" y1="{_TOP}" y2="{bottom}" stroke="{_GREY}" '
        f'stroke-opacity="{0.9 if value == 1 else 0.25}"/>'
        f'<text x="{_x(value):.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>'
        for value in ticks
    ]
    title = "realised false-reject rate, mean of all calibrations, over the promised one; a dot a law or a real set"
    key = [
        f'<text x="{_LEFT}" y="16">{title}</text>',
        f'<circle cx="{_LEFT + 5}" cy="30" r="4" fill="{_KEPT}"/><text x="{_LEFT + 16}" y="34">promise kept</text>',
        f'<circle cx="{_LEFT + 115}" cy="30" r="4" fill="{_BROKEN}"/>'
        f'<text x="{_LEFT + 126}" y="34">promise broken</text>',
    ]
    return [*lines, *key]


def _lane(lane: tuple[str, int, float], rows: Sequence[Row], y: float) -> list[str]:
    method, parts, target = lane
    name = f"{method.removesuffix(' (not offered)')}, {parts} parts, {100 * target:g} %"
    label = f'<text x="{_LEFT - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>'
    return [label, *(_dot(row, y) for row in rows)]


def _dot(row: Row, y: float) -> str:
    ratio = row["realised_mean"] / row["promise"]
    colour = _KEPT if row["promise_kept"] else _BROKEN
    return (
        f'<circle cx="{_x(ratio):.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.75">'
        f"<title>{escape(row['law'])}: {ratio:.2f}</title></circle>"
    )


def _x(ratio: float) -> float:
    low, high = _RANGE
    place = math.log(min(max(ratio, low), high) / low) / math.log(high / low)
    return _LEFT + place * (_WIDTH - _LEFT - _RIGHT)
