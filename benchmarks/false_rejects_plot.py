"""The plot of promised against realised false-reject rates."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.lane_plot import Axis, Dot, Lane, lane_plot
from benchmarks.results import Row

_AXIS = Axis(
    "realised false-reject rate, mean of all calibrations, over the promised one; a dot a law or a real set",
    ticks=(0.1, 0.3, 1, 3, 10),
    low=0.03,
    high=30.0,
    log=True,
    strong=1,
)


def plot(rows: Sequence[Row]) -> str:
    """One lane a method and number of parts, one dot a law: realised mean over what was promised."""
    lanes: dict[tuple[str, int, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["method"].endswith("(not offered)"), row["method"])):
        lanes.setdefault((row["method"], row["n"], row["target"]), []).append(row)
    drawn = [Lane(_name(*lane), [_dot(row) for row in found]) for lane, found in lanes.items()]
    return lane_plot(_AXIS, drawn, ("promise kept", "promise broken"))


def _name(method: str, parts: int, target: float) -> str:
    return f"{method.removesuffix(' (not offered)')}, {parts} parts, {100 * target:g} %"


def _dot(row: Row) -> Dot:
    ratio = row["realised_mean"] / row["promise"]
    return Dot(ratio, 0 if row["promise_kept"] else 1, f"{row['law']}: {ratio:.2f}")
