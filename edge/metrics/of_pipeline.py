"""A running pipeline as the metrics look at it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edge.audit.recorder import Recorder
from edge.metrics.latencies import Histogram
from edge.metrics.station import Depth, Station
from edge.pipeline import Pipeline
from edge.supervisor import hangs
from edge.verdict import Heartbeat


class PipelineFigures(Station):
    """What a pipeline and its audit trail come to now. A worker that has not moved for `hang_s` seconds is stuck."""

    def __init__(self, pipeline: Pipeline, recorder: Recorder | None, hang_s: float) -> None:
        self._pipeline = pipeline
        self._recorder = recorder
        self._hang_s = hang_s

    def status(self) -> Heartbeat:
        return self._pipeline.publisher.status()

    def depths(self) -> Iterator[Depth]:
        yield Depth("", "verdicts", self._pipeline.verdicts_waiting)
        for name, lane in self._pipeline.lanes.copy().items():
            yield from (Depth(name, queue, items) for queue, items in lane.depths.items())

    def thresholds(self) -> dict[str, float]:
        judges = {name: lane.product.judge for name, lane in self._pipeline.lanes.copy().items()}
        return {name: judge.map_threshold if judge.ignored else judge.threshold for name, judge in judges.items()}

    def latencies(self) -> Iterator[Histogram]:
        return self._pipeline.publisher.latencies.histograms()

    def workers(self) -> list[str]:
        return [worker.name for worker in self._pipeline.workers]

    def unaudited(self) -> int:
        return 0 if self._recorder is None else self._recorder.failures

    def stuck(self) -> str:
        now = time.monotonic()
        names = [worker.name for worker in self._pipeline.workers if hangs(worker, self._hang_s, now)]
        return f"stuck for {self._hang_s:g} s: {', '.join(names)}" if names else ""
