"""How long the stages took, counted by the publisher's thread alone: no lock is between a verdict and a scrape."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from edge.verdict import StageTimes

# Upper ends in milliseconds, included: a stage of microseconds and a stall of seconds are both told.
BOUNDS_MS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 10_000.0)
STAGES = StageTimes.__struct_fields__


@dataclass(frozen=True)
class Histogram:
    """Of one stage of one camera: how many were within each of `BOUNDS_MS` and not the one before, then beyond all."""

    camera: str
    stage: str
    counts: list[int]
    sum_ms: float


class StageLatencies:
    """Counts stage times by camera. `observe` is for one thread; any thread may read meanwhile."""

    def __init__(self, cameras: Iterable[str]) -> None:
        self._counts = {(camera, stage): [0] * (len(BOUNDS_MS) + 1) for camera in cameras for stage in STAGES}
        self._sums = dict.fromkeys(self._counts, 0.0)

    def observe(self, camera: str, times: StageTimes) -> None:
        """Count the stages that one part came to."""
        for stage, ms in zip(STAGES, msgspec.structs.astuple(times), strict=True):
            if ms is not None:
                self._counts[camera, stage][bisect_left(BOUNDS_MS, ms)] += 1
                self._sums[camera, stage] += ms

    def histograms(self) -> Iterator[Histogram]:
        """The counts of this moment."""
        for (camera, stage), counts in self._counts.items():
            yield Histogram(camera, stage, list(counts), self._sums[camera, stage])
