"""Control charts over real photographs: after how many faulty parts a line is stopped, and how often for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.results import Row
from calibration.binomial import proportion_interval
from calibration.charts import WINDOWS, ControlCharts
from engines.bundle import Guard

Signed = Mapping[str, ArrayLike] | None
TRIALS, ORDERS, FAULTY = 100, 50, 100
WITHIN = (5, 10, 20, 50)


@dataclass(frozen=True)
class Run:
    """Parts one after the other: how often an alarm began, how many parts it stopped, and which was the first."""

    parts: int
    alarms: int
    stopped: int
    first: int | None


def run(guards: Sequence[Guard], parts: Sequence[Signed], skipped: int = 0) -> Run:
    """Take parts through new charts; the first `skipped` do not count, but fill the windows."""
    charts = ControlCharts(guards)
    stopped = []
    for signed in parts:
        if signed is not None:
            charts.count(signed)
        stopped.append(bool(charts.objection))
    after = np.asarray(stopped[skipped:])
    begins = int(after[0]) + int(np.count_nonzero(after[1:] & ~after[:-1])) if len(after) else 0
    return Run(len(after), begins, int(after.sum()), int(after.argmax()) + 1 if after.any() else None)


def parts_until_stopped(guards: Sequence[Guard], good: Sequence[Signed], faulty: Sequence[Signed]) -> Row:
    """After how many faulty parts in random order the charts stop all parts; good ones come before them."""
    rng = np.random.default_rng(0)
    first = []
    for _ in range(TRIALS):
        before = [good[index] for index in rng.choice(len(good), WINDOWS[-1])]
        after = [faulty[index] for index in rng.permutation(len(faulty))[:FAULTY]]
        found = run(guards, before + after, len(before)).first
        first.append(found or np.inf)
    p50, p95 = (float(np.quantile(first, share, method="higher")) for share in (0.5, 0.95))
    return {
        "chart_p50": int(p50) if np.isfinite(p50) else None,
        "chart_p95": int(p95) if np.isfinite(p95) else None,
        "chart_within": {str(parts): float(np.mean(np.asarray(first) <= parts)) for parts in WITHIN},
    }


def false_alarms(guards: Sequence[Guard], good: Sequence[Signed]) -> Row:
    """What the charts say of good parts in the order of their files, with its 95 % interval, and in random orders."""
    rng = np.random.default_rng(0)
    in_order = run(guards, good)
    shuffled = [run(guards, [good[index] for index in rng.permutation(len(good))]) for _ in range(ORDERS)]
    return {
        "parts": in_order.parts,
        "alarms_in_order": in_order.alarms,
        "stopped_in_order": in_order.stopped,
        "alarms_interval": proportion_interval(in_order.alarms, in_order.parts),
        "parts_shuffled": sum(one.parts for one in shuffled),
        "alarms_shuffled": sum(one.alarms for one in shuffled),
        "stopped_shuffled": sum(one.stopped for one in shuffled),
    }
