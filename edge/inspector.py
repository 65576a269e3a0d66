"""The worker that inspects: preprocessing, the engine, the decision. Every frame in is a judgement out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge.cameras.camera import Frame
from edge.decision import Decision, Judge, undecidable
from edge.queues import BoundedQueue, QueueClosedError
from edge.worker import Job
from engines.engine import Engine

_log = logging.getLogger(__name__)
_PATIENCE_S = 0.1
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Judgement:
    """A decision on a frame, on its way to the publisher.

    `stages` holds milliseconds by stage, as far as the frame came; `decided_ns` is the monotonic clock.
    """

    frame: Frame
    decision: Decision
    stages: dict[str, float]
    decided_ns: int


class Inspector(Job):
    """Queue to queue. An exception inside one frame's inspection is that frame's NotDecidable, nothing more."""

    def __init__(
        self, engine: Engine, judge: Judge, frames: BoundedQueue[Frame], judgements: BoundedQueue[Judgement]
    ) -> None:
        self._engine = engine
        self._judge = judge
        self._frames = frames
        self._judgements = judgements

    def setup(self) -> None:
        """Nothing: the engine was opened and proved before this worker."""

    def step(self, stopping: threading.Event) -> bool:
        """Inspect the next frame. False when no more can come."""
        try:
            frame = self._frames.get(_PATIENCE_S)
            if frame is not None:
                self._judgements.put(self.judge(frame))
        except QueueClosedError:
            return False
        return True

    def teardown(self) -> None:
        """Nothing: whoever opened the engine closes it."""

    def judge(self, frame: Frame) -> Judgement:
        """Inspect one frame, whatever happens."""
        watch = _Stopwatch(frame)
        if frame.image is None:
            decision = undecidable(frame.fault)
        else:
            try:
                decision = self._decide(frame, watch)
            except BaseException as error:  # in a worker, even SystemExit is no more than this frame's trouble
                _log.warning("frame %d: %s failed", frame.frame_id, watch.stage, exc_info=error)
                decision = undecidable(f"{watch.stage}: {error or type(error).__name__}")
        return Judgement(frame, decision, watch.stages, time.monotonic_ns())

    def _decide(self, frame: Frame, watch: _Stopwatch) -> Decision:
        image = frame.image
        if image is None:
            raise ValueError("a frame without an image cannot be inspected")
        square = watch.measure("preprocess", lambda: self._judge.preprocessing(image))
        inspection = watch.measure("infer", lambda: self._engine.infer(square[None]))
        score, anomaly_map = float(inspection.scores[0]), inspection.maps[0]
        return watch.measure("decide", lambda: self._judge.decide(score, anomaly_map, image.shape))


class _Stopwatch:
    """Milliseconds by stage; `stage` is the present one, for the message when it fails."""

    def __init__(self, frame: Frame) -> None:
        taken_ns = time.monotonic_ns()
        waited_ms = (taken_ns - frame.captured_ns) / 1e6 - frame.capture_ms
        self.stages = {"capture": frame.capture_ms, "queue": max(waited_ms, 0.0)}
        self.stage = ""

    def measure(self, stage: str, work: Callable[[], _Result]) -> _Result:
        """Run one stage and note how long it took, also when it fails."""
        self.stage = stage
        began_ns = time.monotonic_ns()
        try:
            return work()
        finally:
            self.stages[stage] = (time.monotonic_ns() - began_ns) / 1e6
