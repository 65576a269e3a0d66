"""The curve of the first day: image AUROC over the number of good photographs, a panel a data set, as SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from html import escape

from benchmarks.lane_plot import COLOURS
from benchmarks.results import Row

_PANEL, _HEIGHT, _TOP, _GAP, _LEFT = 250, 210, 64, 34, 46
_GREY = "#808a96"
_LOWEST, _TICKS = 0.4, (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def plot(rows: Sequence[Row]) -> str:
    """Draw a dot a draw, and a line through the means of each method."""
    sets = sorted({row["data"] for row in rows})
    methods = sorted({label(row) for row in rows})
    counts = sorted({row["photographs"] for row in rows})
    width = _LEFT + len(sets) * (_PANEL + _GAP)
    body = list(_key(methods))
    for index, name in enumerate(sets):
        left = _LEFT + index * (_PANEL + _GAP)
        body += _frame(name, left, counts)
        for colour, method in zip(COLOURS, methods, strict=False):
            body += _curve([row for row in rows if (row["data"], label(row)) == (name, method)], left, counts, colour)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_TOP + _HEIGHT + 48}" font-family="sans-serif" '
        f'font-size="12" fill="{_GREY}" role="img" aria-label="image AUROC over the number of photographs">'
        f"{''.join(body)}</svg>\n"
    )


def label(row: Row) -> str:
    """How a row's method is called in table and plot."""
    return f"{row['method']}, {row['recipe']}" if row["recipe"] else str(row["method"])


def _key(methods: Sequence[str]) -> list[str]:
    body, x = [f'<text x="{_LEFT}" y="16">image AUROC over the number of good photographs; a dot a draw</text>'], _LEFT
    for method, colour in zip(methods, COLOURS, strict=False):
        body.append(f'<circle cx="{x + 5}" cy="32" r="4" fill="{colour}"/><text x="{x + 16}" y="36">{method}</text>')
        x += 40 + 7 * len(method)
    return body


def _frame(name: str, left: float, counts: Sequence[int]) -> list[str]:
    body = [f'<text x="{left}" y="{_TOP - 8}" font-weight="600">{escape(name)}</text>']
    for tick in _TICKS:
        y = _y(tick)
        body.append(
            f'<line x1="{left}" x2="{left + _PANEL}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GREY}" stroke-opacity="0.25"/>'
            f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.1f}</text>'
        )
    for count in counts:
        x = _x(count, left, counts)
        body.append(f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 20}" text-anchor="middle">{count}</text>')
    return body


def _curve(rows: Sequence[Row], left: float, counts: Sequence[int], colour: str) -> list[str]:
    by_count = {count: [row["image_auroc"] for row in rows if row["photographs"] == count] for count in counts}
    points = [
        f"{_x(count, left, counts):.1f},{_y(statistics.fmean(values)):.1f}"
        for count, values in by_count.items()
        if values
    ]
    dots = (
        f'<circle cx="{_x(count, left, counts):.1f}" cy="{_y(value):.1f}" r="3" fill="{colour}" fill-opacity="0.55">'
        f"<title>{count} photographs: {value:.3f}</title></circle>"
        for count, values in by_count.items()
        for value in values
    )
    return [f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _x(count: int, left: float, counts: Sequence[int]) -> float:
    low, high = math.log(min(counts)), math.log(max(counts))
    return left + 20 + (_PANEL - 40) * ((math.log(count) - low) / (high - low) if high > low else 0.5)


def _y(value: float) -> float:
    return _TOP + _HEIGHT * (1 - (max(value, _LOWEST) - _LOWEST) / (1 - _LOWEST))
