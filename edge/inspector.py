"""The workers that inspect: one feeds the engine, one collects. Every frame in is a judgement out, in the same order.

Two workers, so that the engine never waits for Python: while it works on some frames, the feeder prepares the next one
and the collector decides on the last one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.drift import Drift
from edge.cameras.camera import Frame
from edge.decision import Decision, undecidable
from edge.health import CameraHealth
from edge.product import Product, Recipe
from edge.queues import BoundedQueue, QueueClosedError
from edge.verdict import Evaluation
from edge.worker import Job
from engines.engine import Engine, Inspection, Pending
from engines.preprocess import Preprocessing

_log = logging.getLogger(__name__)
_PATIENCE_S = 0.1
_Result = TypeVar("_Result")


class Stopwatch:
    """Milliseconds by stage; `stage` is the present one, for the message when it fails."""

    def __init__(self, frame: Frame) -> None:
        taken_ns = time.monotonic_ns()
        waited_ms = (taken_ns - frame.captured_ns) / 1e6 - frame.capture_ms
        self.stages = {"capture": frame.capture_ms, "queue": max(waited_ms, 0.0)}
        self.stage = ""
        self._began_ns = taken_ns

    def measure(self, stage: str, work: Callable[[], _Result]) -> _Result:
        """Run one stage and note how long it took, also when it fails."""
        self.begin(stage)
        try:
            return work()
        finally:
            self.end()

    def begin(self, stage: str) -> None:
        """A stage that another thread may end."""
        self.stage = stage
        self._began_ns = time.monotonic_ns()

    def end(self) -> None:
        """The present stage is over."""
        self.stages[self.stage] = (time.monotonic_ns() - self._began_ns) / 1e6


@dataclass(frozen=True)
class Fed:
    """A frame on its way through the engine: `pending` there, or decided already where it never came so far.

    `square` is the network's input, RGB uint8 `(S, S, 3)`; None where the engine preprocesses itself.
    """

    frame: Frame
    product: Product
    watch: Stopwatch
    pending: Pending | None
    decision: Decision | None
    square: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Judgement:
    """A decision on a frame of a camera by a recipe, on its way to the publisher.

    `stages` holds milliseconds by stage, as far as the frame came; `decided_ns` is the monotonic clock.
    """

    camera: str
    recipe: Recipe
    frame: Frame
    decision: Decision
    stages: dict[str, float]
    decided_ns: int


class Feeder(Job):
    """Prepares frames and submits them. It takes no frame before the engine has room for it.

    So of a free-running camera the newest frame at that moment is inspected. What fails is that frame's NotDecidable.
    """

    def __init__(
        self, product: Product, frames: BoundedQueue[Frame], fed: BoundedQueue[Fed], late_s: float | None = None
    ) -> None:
        self._product = product
        self._frames = frames
        self._fed = fed
        self._late_s = late_s

    def setup(self) -> None:
        """Nothing: the engine was opened and proved before this worker."""

    def step(self, stopping: threading.Event) -> bool:
        """Submit the next frame. False when no more can come."""
        try:
            if self._fed.wait_for_room(_PATIENCE_S):
                frame = self._frames.get(_PATIENCE_S)
                if frame is not None:
                    self._fed.put(self.feed(frame))
        except QueueClosedError:
            self._fed.close()
            return False
        return True

    def teardown(self) -> None:
        """Nothing: whoever opened the engine closes it."""

    def _lateness(self, frame: Frame) -> str:
        age_s = (time.monotonic_ns() - (frame.triggered_ns or frame.captured_ns)) / 1e9
        if self._late_s is None or age_s <= self._late_s:
            return ""
        return f"late: {age_s:.3f} s after its capture the engine had no room yet, more than {self._late_s:g} s"

    def feed(self, frame: Frame) -> Fed:
        """Hand one frame to the engine, whatever happens."""
        watch, product = Stopwatch(frame), self._product
        fault = frame.fault if frame.image is None else self._lateness(frame)
        if fault or frame.image is None:
            return Fed(frame, product, watch, None, undecidable(fault))
        try:
            pending, square = submit(product.engine, product.judge.preprocessing, frame.image, watch)
        except BaseException as error:  # in a worker, even SystemExit is no more than this frame's trouble
            return Fed(frame, product, watch, None, failed(frame, watch, error))
        return Fed(frame, product, watch, pending, None, square)


def submit(
    engine: Engine, preprocessing: Preprocessing, image: NDArray[np.uint8], watch: Stopwatch
) -> tuple[Pending, NDArray[np.uint8] | None]:
    """Hand a camera frame to the engine, as it is where the engine preprocesses itself: then that counts as `infer`.

    Returns also the network's input where it was made here.
    """
    if engine.takes(preprocessing):
        watch.begin("infer")
        return engine.submit_frame(image, preprocessing), None
    square = watch.measure("preprocess", lambda: preprocessing(image))
    watch.begin("infer")
    return engine.submit(square[None]), square


class Collector(Job):
    """Waits for results in the order in which frames were fed, and decides. It ends after the last one."""

    def __init__(self, health: CameraHealth, fed: BoundedQueue[Fed], judgements: BoundedQueue[Judgement]) -> None:
        self._health = health
        self._watched: Product | None = None
        self._fed = fed
        self._judgements = judgements

    def setup(self) -> None:
        """Nothing."""

    def step(self, stopping: threading.Event) -> bool:
        """Decide on the next frame. False when no more can come."""
        try:
            fed = self._fed.get(_PATIENCE_S)
            if fed is not None:
                self._judgements.put(self.judge(fed))
        except QueueClosedError:
            return False
        return True

    def teardown(self) -> None:
        """Nothing."""

    def judge(self, fed: Fed) -> Judgement:
        """Decide on one frame, whatever happens."""
        try:
            decision = fed.decision or self._decide(fed)
        except BaseException as error:  # as above
            decision = failed(fed.frame, fed.watch, error)
        recipe, stages = fed.product.recipe, fed.watch.stages
        self._watch(fed.product, decision)
        return Judgement(self._health.name, recipe, fed.frame, decision, stages, time.monotonic_ns())

    def _watch(self, product: Product, decision: Decision) -> None:
        if self._watched is not product:
            self._watched, self._health.drift = product, Drift(product.drift)
        drift = self._health.drift
        if drift is None or decision.score is None:
            return
        before = drift.alarms
        drift.count(decision.score, decision.evaluation is Evaluation.NOT_OK)
        for name in drift.alarms:
            if name not in before:
                _log.warning("camera %s drifts: %s", self._health.name, name)

    def _decide(self, fed: Fed) -> Decision:
        if fed.pending is None or fed.frame.image is None:
            raise ValueError("a frame that was never submitted has no result")
        inspection = fed.pending.result()
        fed.watch.end()
        image = fed.frame.image
        return fed.watch.measure("decide", lambda: _decision(fed, image, inspection))


def _decision(fed: Fed, image: NDArray[np.uint8], inspection: Inspection) -> Decision:
    judge, guards = fed.product.judge, fed.product.guards
    decision = judge.decide(float(inspection.scores[0]), inspection.maps[0], image.shape)
    if guards is None or decision.evaluation is Evaluation.NOT_DECIDABLE:
        return decision
    square = judge.preprocessing(image) if fed.square is None else fed.square
    rejected = decision.evaluation is Evaluation.NOT_OK
    objection = guards.objection(square, inspection.embeddings[0], rejected)
    return undecidable(objection) if objection else decision


def failed(frame: Frame, watch: Stopwatch, error: BaseException) -> Decision:
    """The decision on a frame whose present stage failed."""
    _log.warning("frame %d: %s failed", frame.frame_id, watch.stage, exc_info=error)
    return undecidable(f"{watch.stage}: {error or type(error).__name__}")
