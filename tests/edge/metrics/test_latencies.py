from __future__ import annotations

from bisect import bisect_left

import numpy as np

from edge.metrics.latencies import BOUNDS_MS, STAGES, StageLatencies
from edge.verdict import StageTimes


def test_each_time_is_counted_within_its_bounds() -> None:
    latencies = StageLatencies(["top", "side"])
    times = [0.0, 0.1, 0.1000001, 7.5, 10_000.0, 10_000.1, 1e9]
    for ms in times:
        latencies.observe("top", StageTimes(capture=ms, queue=0.3, total=ms))
    found = {(each.camera, each.stage): each for each in latencies.histograms()}
    assert set(found) == {(camera, stage) for camera in ("top", "side") for stage in STAGES}
    expected = [0] * (len(BOUNDS_MS) + 1)
    for ms in times:
        expected[bisect_left(BOUNDS_MS, ms)] += 1
    assert found["top", "capture"].counts == expected
    assert expected[0] == 2
    assert expected[-1] == 2
    assert found["top", "capture"].sum_ms == np.sum(times)
    assert sum(found["top", "queue"].counts) == len(times)
    # Parts that never came to a stage say nothing of it.
    assert sum(found["top", "infer"].counts) == 0
    assert sum(found["side", "total"].counts) == 0
