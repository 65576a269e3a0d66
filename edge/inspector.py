"""The workers that inspect: one feeds the engine, one collects. Every frame in is a judgement out, in the same order.

Two workers, so that the engine never waits for Python: while it works on some frames, the feeder prepares the next one
and the collector decides on the last one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.charts import ControlCharts
from calibration.drift import Drift
from edge.anomaly_map import AnomalyMap
from edge.cameras.camera import Frame
from edge.decision import Decision, undecidable
from edge.health import CameraHealth
from edge.product import Product, Recipe
from edge.queues import BoundedQueue, QueueClosedError
from edge.turnstile import Ticket
from edge.verdict import Evaluation
from edge.worker import Job
from engines.engine import Engine, Inspection, Pending
from engines.errors import InspectError
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


@dataclass
class Fed:
    """A frame on its way through the engine: `pending` there, or decided already where it never came so far.

    `picture` is the preprocessed frame, RGB uint8 `(H, W, 3)`; None where the engine preprocesses itself. `map` is
    there once the engine has given one.
    """

    frame: Frame
    product: Product
    watch: Stopwatch
    pending: Pending | None
    decision: Decision | None
    picture: NDArray[np.uint8] | None = None
    collected: bool = False
    map: AnomalyMap | None = None

    def discard(self) -> None:
        """Give back the engine's request, whose result nobody wants any more."""
        if self.pending is not None and not self.collected:
            with suppress(InspectError):
                self.result()

    def result(self) -> Inspection:
        """Wait for what the engine says, and make room for another frame. Raises EngineError."""
        if self.pending is None:
            raise ValueError("a frame that was never submitted has no result")
        self.collected = True
        try:
            return self.pending.result()
        finally:
            self.product.turnstile.leave()


@dataclass(frozen=True)
class Judgement:
    """A decision on a frame of a camera by a recipe, on its way to the publisher.

    `stages` holds milliseconds by stage, as far as the frame came; `decided_ns` is the monotonic clock. `map` is None
    where the engine gave none.
    """

    camera: str
    recipe: Recipe
    frame: Frame
    decision: Decision
    stages: dict[str, float]
    decided_ns: int
    map: AnomalyMap | None = None


class Feeder(Job):
    """Prepares frames and submits them. It takes no frame before the engine has room for it.

    So of a free-running camera the newest frame at that moment is inspected. What fails is that frame's NotDecidable.
    `at_work` is the frame that was taken and has not been handed on yet. Between two frames `product` becomes the one
    that was `ordered`, from another thread.
    """

    def __init__(
        self, product: Product, frames: BoundedQueue[Frame], fed: BoundedQueue[Fed], late_s: float | None = None
    ) -> None:
        self.at_work: Frame | None = None
        self.ordered = product
        self.product = product
        self._frames = frames
        self._fed = fed
        self._late_s = late_s
        self._ticket: Ticket | None = None

    def setup(self) -> None:
        """Nothing: the engine was opened and proved before this worker."""

    def step(self, stopping: threading.Event) -> bool:
        """Submit the next frame. False when no more can come."""
        try:
            self._adopt()
            if self._fed.wait_for_room(_PATIENCE_S):
                self.at_work = self.at_work or self._next()
            if self.at_work is not None:
                self._hand_on(self.feed(self.at_work))
                self.at_work = None
        except QueueClosedError:
            self._fed.close()
            return False
        return True

    def teardown(self) -> None:
        """Leave the queue before the engine; whoever opened the engine closes it."""
        if self._ticket is not None:
            self.product.turnstile.give_up(self._ticket)
            self._ticket = None

    def _adopt(self) -> None:
        if self.product is not self.ordered and self.at_work is None:
            self.teardown()  # it stands in the queue before the old engine
            self.product = self.ordered

    def _hand_on(self, fed: Fed) -> None:
        try:
            self._fed.put(fed)
        except QueueClosedError:
            fed.discard()
            raise

    def _next(self) -> Frame | None:
        if not self._frames.wait_for_item(_PATIENCE_S):
            return None
        # What has no picture does not need the engine, and must not wait for it.
        frame = self._frames.get_if(lambda frame: frame.image is None)
        return frame or (self._frames.get(0.0) if self._enter() else None)

    def _enter(self) -> bool:
        turnstile = self.product.turnstile
        self._ticket = self._ticket or turnstile.queue()
        if not turnstile.enter(self._ticket, _PATIENCE_S):
            return False
        self._ticket = None
        return True

    def _lateness(self, frame: Frame) -> str:
        age_s = (time.monotonic_ns() - (frame.triggered_ns or frame.captured_ns)) / 1e9
        if self._late_s is None or age_s <= self._late_s:
            return ""
        return f"late: {age_s:.3f} s after its capture the engine had no room yet, more than {self._late_s:g} s"

    def feed(self, frame: Frame) -> Fed:
        """Hand one frame to the engine, whatever happens."""
        watch, product = Stopwatch(frame), self.product
        if frame.image is None:
            return Fed(frame, product, watch, None, undecidable(frame.fault))
        lateness = self._lateness(frame)
        try:
            if not lateness:
                pending, picture = submit(product.engine, product.judge.preprocessing, frame.image, watch)
                return Fed(frame, product, watch, pending, None, picture)
            decision = undecidable(lateness)
        except BaseException as error:  # in a worker, even SystemExit is no more than this frame's trouble
            decision = failed(frame, watch, error)
        product.turnstile.leave()
        return Fed(frame, product, watch, None, decision)


def submit(
    engine: Engine, preprocessing: Preprocessing, image: NDArray[np.uint8], watch: Stopwatch
) -> tuple[Pending, NDArray[np.uint8] | None]:
    """Hand a camera frame to the engine, as it is where the engine preprocesses itself: then that counts as `infer`.

    Returns also the preprocessed frame where it was made here.
    """
    if engine.takes(preprocessing):
        watch.begin("infer")
        return engine.submit_frame(image, preprocessing), None
    picture = watch.measure("preprocess", lambda: preprocessing(image))
    watch.begin("infer")
    return engine.submit(picture[None]), picture


class Collector(Job):
    """Waits for results in the order in which frames were fed, and decides. It ends after the last one.

    `at_work` is the frame that was taken and has not been handed on yet.
    """

    def __init__(self, health: CameraHealth, fed: BoundedQueue[Fed], hand_on: Callable[[Judgement], None]) -> None:
        self.at_work: Fed | None = None
        self._health = health
        self._watched: Product | None = None
        self._distrust = ""
        self._fed = fed
        self._hand_on = hand_on

    def setup(self) -> None:
        """Nothing."""

    def step(self, stopping: threading.Event) -> bool:
        """Decide on the next frame. False when no more can come."""
        try:
            self.at_work = self.at_work or self._fed.get(_PATIENCE_S)
            if self.at_work is not None:
                self._hand_on(self.judge(self.at_work))
                self.at_work = None
        except QueueClosedError:
            return False
        return True

    def teardown(self) -> None:
        """Nothing."""

    def distrust(self, reason: str) -> None:
        """Believe no score any more. From any thread."""
        self._distrust = reason

    def judge(self, fed: Fed) -> Judgement:
        """Decide on one frame, whatever happens."""
        try:
            decision = self._charted(fed.product, fed.decision or self._decide(fed))
            if self._distrust:
                decision = undecidable(self._distrust)
        except BaseException as error:  # as above
            decision = failed(fed.frame, fed.watch, error)
        self._watch(decision)
        return judgement(self._health.name, fed, decision)

    def _charted(self, product: Product, decision: Decision) -> Decision:
        """The decision, or why no part can be judged now: what hides in one picture shows in the last ones."""
        if self._watched is not product:  # another recipe's parts say nothing of this one's
            self._watched, self._health.drift = product, Drift(product.drift)
            self._health.charts = ControlCharts(product.recipe.calibration.guards)
        charts = self._health.charts
        if decision.signed is None or charts is None:
            return decision
        before = charts.objection
        charts.count(decision.signed)
        if bool(before) is not bool(charts.objection):
            _log.warning("camera %s: %s", self._health.name, charts.objection or f"over: {before}")
        if not charts.objection or decision.evaluation is Evaluation.NOT_DECIDABLE:
            return decision
        return replace(undecidable(charts.objection), unusual=decision.unusual)

    def _watch(self, decision: Decision) -> None:
        drift = self._health.drift
        if drift is None or not (decision.unusual or decision.score is not None):
            return
        before = drift.alarms
        drift.count(decision.score, decision.evaluation is Evaluation.NOT_OK, decision.unusual)
        for name in drift.alarms:
            if name not in before:
                _log.warning("camera %s drifts: %s", self._health.name, name)

    def _decide(self, fed: Fed) -> Decision:
        inspection = fed.result()
        fed.watch.end()
        judge = fed.product.judge
        fed.map = AnomalyMap(inspection.maps[0], judge.preprocessing, judge.map_threshold, fed.product.quiet)
        image = fed.frame.image
        if image is None:
            raise ValueError("a frame without a picture has no score")
        return fed.watch.measure("decide", lambda: _decision(fed, image, inspection))


def _decision(fed: Fed, image: NDArray[np.uint8], inspection: Inspection) -> Decision:
    judge, guards = fed.product.judge, fed.product.guards
    decision = judge.decide(float(inspection.scores[0]), inspection.maps[0], image.shape)
    if guards is None or decision.evaluation is Evaluation.NOT_DECIDABLE:
        return decision
    picture = judge.preprocessing(image) if fed.picture is None else fed.picture
    rejected = decision.evaluation is Evaluation.NOT_OK
    found = guards.examine(picture, inspection.embeddings[0], rejected)
    decision = undecidable(found.objection) if found.objection else decision
    return replace(decision, unusual=found.unusual, signed=found.signed)


def judgement(camera: str, fed: Fed, decision: Decision) -> Judgement:
    """The judgement of this moment."""
    return Judgement(camera, fed.product.recipe, fed.frame, decision, fed.watch.stages, time.monotonic_ns(), fed.map)


def failed(frame: Frame, watch: Stopwatch, error: BaseException) -> Decision:
    """The decision on a frame whose present stage failed."""
    _log.warning("frame %d: %s failed", frame.frame_id, watch.stage, exc_info=error)
    return undecidable(f"{watch.stage}: {error or type(error).__name__}")
