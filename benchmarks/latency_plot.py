"""The plot of latencies at a fixed rate."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.lane_plot import Axis, Dot, Lane, lane_plot
from benchmarks.results import Row

_KINDS = ("p50", "p95", "p99")


def plot(rows: Sequence[Row]) -> str:
    """One lane an engine, precision and number of requests in flight; its median, 95th and 99th percentile."""
    lanes = [Lane(_name(row), [_dot(row, kind) for kind in range(len(_KINDS))]) for row in rows]
    worst = max(dot.value for lane in lanes for dot in lane.dots)
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if tick <= 2 * worst]
    title = "milliseconds from the camera's frame to the verdict at a subscriber"
    return lane_plot(Axis(title, ticks, low=1, high=ticks[-1], log=True), lanes, _KINDS)


def _name(row: Row) -> str:
    return f"{row['engine']} {row['precision']}, {row['rate_fps']:.0f} frames/s"


def _dot(row: Row, kind: int) -> Dot:
    value = float(row[f"{_KINDS[kind]}_ms"])
    return Dot(value, kind, f"{_KINDS[kind]}: {value:.1f} ms")
