"""The report's charts, as inline SVG whose colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from engines.page.heat import STOPS, TOP

_WIDTH = 960
_LEFT, _RIGHT = 96, 24
_DOT = 5.0
_STEP = 2 * _DOT + 1.5
_BINS = 90
_LANE_HEIGHT = 96.0
_TOP_ROOM = 22.0


@dataclass(frozen=True)
class Dot:
    """One part on the score chart: `lane` 0 for good and 1 for defective parts, `link` the part's place in the page."""

    score: float
    lane: int
    wrong: bool
    label: str
    link: str


def score_chart(dots: Sequence[Dot], threshold: float) -> str:
    """Every part's score on one axis, good parts above defective ones, with the threshold across both."""
    scores = [dot.score for dot in dots] + [threshold]
    margin = 0.04 * (max(scores) - min(scores) or 1.0)
    axis = _Axis(min(scores) - margin, max(scores) + margin)
    lanes = [_stacked([dot for dot in dots if dot.lane == lane], axis) for lane in (0, 1)]
    heights = [max((y for _, _, y in lane), default=0.0) + _STEP + 14 for lane in lanes]
    floors = [16 + heights[0], 16 + heights[0] + 14 + heights[1]]
    bottom = floors[1] + 8
    limit = axis.x(threshold)
    body = [
        f'<rect class="reject" x="{limit:.1f}" y="8" width="{_WIDTH - _RIGHT - limit:.1f}" height="{bottom - 8:.1f}"/>'
    ]
    for name, lane, floor in zip(("good", "defective"), lanes, floors, strict=True):
        body.append(f'<text class="lane" x="{_LEFT - 14}" y="{floor - 4:.1f}" text-anchor="end">{name}</text>')
        body.append(f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor:.1f}" y2="{floor:.1f}"/>')
        body += [_dot(dot, x, floor - 8 - y) for dot, x, y in lane]
    body.append(f'<line class="limit" x1="{limit:.1f}" x2="{limit:.1f}" y1="8" y2="{bottom:.1f}"/>')
    body.append(axis.ticks(bottom))
    body.append(f'<text class="limit-label" x="{limit + 6:.1f}" y="20">NotOK above {threshold:.4g}</text>')
    return _svg("\n".join(body), bottom + 38, "Scores of all parts against the threshold")


@dataclass(frozen=True)
class Lane:
    """Scores of one kind of parts, drawn as a histogram; `kind` is "good" or "defective" and gives the colour."""

    name: str
    scores: Sequence[float]
    kind: str


@dataclass(frozen=True)
class Limits:
    """Where parts are rejected; where review begins, and the interval that the threshold lies in, if there are any."""

    threshold: float
    review_above: float | None = None
    interval: tuple[float, float] | None = None


def histogram_chart(lanes: Sequence[Lane], limits: Limits) -> str:
    """Histograms of scores on one axis, one above the other, with the threshold, its interval and the review band."""
    marks = [limits.threshold, *(limits.interval or ())]
    values = [score for lane in lanes for score in lane.scores] + marks
    margin = 0.02 * (max(values) - min(values) or 1.0)
    axis = _Axis(min(values) - margin, max(values) + margin)
    bottom = _TOP_ROOM + len(lanes) * _LANE_HEIGHT
    body = _zones(limits, axis, bottom)
    for index, lane in enumerate(lanes):
        body += _histogram(lane, axis, _TOP_ROOM + (index + 1) * _LANE_HEIGHT)
    limit = axis.x(limits.threshold)
    body.append(f'<line class="limit" x1="{limit:.1f}" x2="{limit:.1f}" y1="24" y2="{bottom:.1f}"/>')
    anchor, shift = ("end", -6) if limit > 0.7 * _WIDTH else ("start", 6)
    body.append(
        f'<text class="limit-label" x="{limit + shift:.1f}" y="18" text-anchor="{anchor}">'
        f"NotOK above {limits.threshold:.4g}</text>"
    )
    body.append(axis.ticks(bottom))
    said = ", ".join(f"{len(lane.scores)} {lane.name}" for lane in lanes)
    return _svg("\n".join(body), bottom + 38, f"Histograms of scores: {said}; threshold {limits.threshold:.4g}")


def _zones(limits: Limits, axis: _Axis, bottom: float) -> list[str]:
    def band(kind: str, low: float, high: float, title: str) -> str:
        width = max(axis.x(high) - axis.x(low), 1.0)
        return (
            f'<rect class="{kind}" x="{axis.x(low):.1f}" y="24" width="{width:.1f}" height="{bottom - 24:.1f}">'
            f"<title>{title}</title></rect>"
        )

    zones = [band("reject", limits.threshold, axis.high, "NotOK")]
    if limits.review_above is not None:
        zones.append(band("review", limits.review_above, limits.threshold, "OK, to be reviewed"))
    if limits.interval:
        low, high = (axis.x(value) for value in limits.interval)
        zones.append(
            f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="28" y2="28"><title>95 % of thresholds from '
            "other parts like these</title></line>"
        )
    return zones


def _histogram(lane: Lane, axis: _Axis, floor: float) -> list[str]:
    counts = [0] * _BINS
    width = (axis.high - axis.low) / _BINS
    for score in lane.scores:
        counts[min(int((score - axis.low) / width), _BINS - 1)] += 1
    tallest = max(counts, default=0) or 1
    room = _LANE_HEIGHT - 26
    drawn = [
        f'<rect class="bar {lane.kind}" x="{axis.x(axis.low + index * width):.1f}" '
        f'y="{floor - max(room * count / tallest, 2):.1f}" width="{(_WIDTH - _LEFT - _RIGHT) / _BINS - 0.8:.1f}" '
        f'height="{max(room * count / tallest, 2):.1f}"><title>{count} of {len(lane.scores)}</title></rect>'
        for index, count in enumerate(counts)
        if count
    ]
    name = f'<text class="lane" x="{_LEFT - 10}" y="{floor - 20:.1f}" text-anchor="end">{escape(lane.name)}</text>'
    number = (
        f'<text class="tick" x="{_LEFT - 10}" y="{floor - 5:.1f}" text-anchor="end">{len(lane.scores)} parts</text>'
    )
    rule = f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor:.1f}" y2="{floor:.1f}"/>'
    return [*drawn, name, number, rule]


def stage_chart(stages: Mapping[str, float]) -> str:
    """How the middle part's time divides over the stages, in milliseconds, as one bar."""
    total = sum(stages.values()) or 1.0
    body, x = [], float(_LEFT)
    for index, (name, value) in enumerate(stages.items()):
        width = (_WIDTH - _LEFT - _RIGHT) * value / total
        title = f"<title>{escape(name)}: {value:.2f} ms</title>"
        body.append(f'<rect class="stage s{index}" x="{x:.1f}" y="10" width="{width:.1f}" height="30">{title}</rect>')
        if width > 70:
            middle = x + width / 2
            body.append(f'<text class="in-bar" x="{middle:.1f}" y="30" text-anchor="middle">{escape(name)}</text>')
            text = f"{value:.1f} ms"
            body.append(f'<text class="tick" x="{middle:.1f}" y="56" text-anchor="middle">{text}</text>')
        x += width
    body.append(f'<text class="lane" x="{_LEFT - 14}" y="30" text-anchor="end">{total:.1f} ms</text>')
    return _svg("\n".join(body), 64, "Stages of the middle part's time")


def loss_chart(losses: Sequence[float]) -> str:
    """The mean loss of every epoch of the training, from the first on the left."""
    height, top = 150.0, 14.0
    axis = _Axis(1.0, max(float(len(losses)), 2.0), "epoch", whole=True)
    highest = max(losses) or 1.0
    floor = top + height
    points = " ".join(
        f"{axis.x(epoch):.1f},{floor - height * loss / highest:.1f}" for epoch, loss in enumerate(losses, start=1)
    )
    body = [f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>']
    for share in (0.0, 0.5, 1.0):
        y = floor - height * share
        body.append(
            f'<text class="tick" x="{_LEFT - 14}" y="{y + 4:.1f}" text-anchor="end">{share * highest:.3g}</text>'
        )
    body.append(f'<polyline class="curve" points="{points}"/>')
    body.append(axis.ticks(floor))
    return _svg("\n".join(body), floor + 38, f"Loss of {len(losses)} epochs, {losses[-1]:.4g} at the last")


def colour_bar() -> str:
    """The legend of the heat maps' scale."""
    stops = "".join(
        f'<stop offset="{place / TOP:.3f}" stop-color="rgb({red},{green},{blue})" stop-opacity="{opacity}"/>'
        for place, red, green, blue, opacity in STOPS
    )
    marks = [(0.0, "0", "start"), (1.0, "threshold", "start"), (3.0, "3 times", "middle"), (TOP, "6 times", "end")]
    labels = "".join(
        f'<text class="tick" x="{8 + 344 * place / TOP:.1f}" y="42" text-anchor="{anchor}">{name}</text>'
        f'<line class="rule" x1="{8 + 344 * place / TOP:.1f}" x2="{8 + 344 * place / TOP:.1f}" y1="22" y2="28"/>'
        for place, name, anchor in marks
    )
    return (
        '<svg class="legend" viewBox="0 0 360 50" role="img" aria-label="Colour scale of the heat maps">'
        f'<defs><linearGradient id="heat">{stops}</linearGradient></defs>'
        '<rect class="swatch" x="8" y="6" width="344" height="16"/>'
        f'<rect x="8" y="6" width="344" height="16" fill="url(#heat)"/>{labels}</svg>'
    )


def score_meter(score: float, threshold: float, low: float, high: float) -> str:
    """A small bar of one part's score on the axis from `low` to `high` that all parts share."""
    span = (high - low) or 1.0
    fill, limit = (max(0.0, min(1.0, (value - low) / span)) * 100 for value in (score, threshold))
    side = "above" if score > threshold else "below"
    return (
        '<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="6"/><rect class="{side}" width="{fill:.1f}" height="6"/>'
        f'<rect class="mark" x="{max(0.0, limit - 0.4):.1f}" width="0.8" height="6"/></svg>'
    )


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    title: str = "score"
    whole: bool = False

    def x(self, value: float) -> float:
        return _LEFT + (value - self.low) / (self.high - self.low) * (_WIDTH - _LEFT - _RIGHT)

    def ticks(self, y: float) -> str:
        step = max(_nice((self.high - self.low) / 8), 1.0 if self.whole else 0.0)
        first = math.ceil(self.low / step)
        values = [step * index for index in range(first, math.floor(self.high / step) + 1)]
        marks = "".join(
            f'<text class="tick" x="{self.x(value):.1f}" y="{y + 16:.1f}" text-anchor="middle">{value:g}</text>'
            for value in (round(value, 10) for value in values)
        )
        return f'{marks}<text class="tick" x="{_LEFT - 14}" y="{y + 16:.1f}" text-anchor="end">{self.title}</text>'


def _nice(step: float) -> float:
    """The next larger one of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def _stacked(dots: Sequence[Dot], axis: _Axis) -> list[tuple[Dot, float, float]]:
    """Dots with their x and their height, those that would touch put on top of each other."""
    placed: list[tuple[Dot, float, float]] = []
    for dot in sorted(dots, key=lambda dot: dot.score):
        x, y = axis.x(dot.score), 0.0
        while any(abs(x - other_x) < _STEP and abs(y - other_y) < _STEP - 0.1 for _, other_x, other_y in placed):
            y += _STEP
        placed.append((dot, x, y))
    return placed


def _dot(dot: Dot, x: float, y: float) -> str:
    kind = "defective" if dot.lane else "good"
    wrong = " wrong" if dot.wrong else ""
    return (
        f'<a href="#{escape(dot.link)}"><circle class="dot {kind}{wrong}" cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}">'
        f"<title>{escape(dot.label)}</title></circle></a>"
    )


def _svg(body: str, height: float, title: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'
    )
