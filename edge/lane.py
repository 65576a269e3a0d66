"""One camera: capture -> bounded queue -> feeder -> collector, on to the station's publisher."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from edge.cameras.camera import Camera, Frame, Triggering
from edge.cameras.tables import CameraTable
from edge.capture import Capture
from edge.capture import Limits as CaptureLimits
from edge.config import PipelineTable
from edge.decision import undecidable
from edge.health import NEWER_FRAME, CameraHealth
from edge.inbox import TriggerRefusedError
from edge.inspector import Collector, Fed, Feeder, Judgement, Stopwatch, judgement
from edge.outlet import Outlet
from edge.product import Product
from edge.queues import BoundedQueue, Policy
from edge.supervisor import Supervisor, hangs
from edge.view import View
from edge.worker import Worker, WorkerError

_MOST_PARTS = 100_000
_STUCK = "driver"


class Lane:
    """The workers of one camera and the queues between them. `arm`, then `supervise` until the end, then `drain`.

    It fails by itself: what goes wrong here costs no other camera a part. Disarmed, it accepts no trigger any more, and
    what it had taken is NotDecidable.
    """

    def __init__(
        self,
        table: CameraTable,
        camera: Camera,
        product: Product,
        limits: PipelineTable,
        judgements: BoundedQueue[Judgement],
        health: CameraHealth,
    ) -> None:
        self.name = health.name
        self._camera = camera
        self._limits = limits
        self._health = health
        self._outlet = Outlet(judgements)
        self._view = View.of(table)
        self._frames = self._frame_queue()
        # The engine has one request more than it works on side by side: these wait here, and one is being collected.
        self._fed: BoundedQueue[Fed] = BoundedQueue(product.engine.in_flight, Policy.ALL)
        waiting = (limits.frames, limits.triggers, limits.trigger_timeout_s)
        self._capture = Capture(camera, self._frames, health, CaptureLimits(table.retry_s, table.retry_max_s, *waiting))
        self._feeder = Feeder(self._view.product(product), self._frames, self._fed, limits.late_s)
        self._collector = Collector(health, self._fed, self._outlet.put)
        self._capturing = Worker(f"{self.name}.capture", self._capture)
        self._feeding = Worker(f"{self.name}.feeder", self._feeder)
        self._collecting = Worker(f"{self.name}.collector", self._collector)
        self._distrusted = ""
        self._supervisor = Supervisor(
            self.workers, health, limits.restarts, limits.restart_window_s, limits.hang_s, patient=[self._capturing]
        )

    @property
    def finished(self) -> bool:
        """Whether the source has come to its end and none of its frames is left to take."""
        return not self.disarmed and not self._capturing.alive and self._capturing.failure is None

    @property
    def disarmed(self) -> bool:
        """Whether its workers failed too often or its engine is distrusted, so that it judges no part any more."""
        return bool(self.why_disarmed)

    @property
    def why_disarmed(self) -> str:
        """Why it judges no part any more; empty where it does."""
        return self._distrusted or self._supervisor.exhausted

    @property
    def product(self) -> Product:
        """What judges the next part."""
        return self._feeder.product

    @property
    def depths(self) -> dict[str, int]:
        """How many items wait in each of its queues."""
        return {"frames": len(self._frames), "engine": len(self._fed)}

    def switch(self, product: Product) -> None:
        """Judge by this product from the next part on that is taken up: until then `product` is the old one."""
        self._feeder.ordered = self._view.product(product)

    @property
    def workers(self) -> list[Worker]:
        """Its workers, from the last one of the way to the first."""
        return [self._collecting, self._feeding, self._capturing]

    def arm(self) -> None:
        """Begin to take and judge parts. Engines of its products must stay open until after `drain`."""
        for worker in self.workers:
            worker.start()
        self._capture.inbox.open()

    def trigger(self, part_id: str | None, encoder: int | None) -> int:
        """Have a picture taken of the part that stands there now, and return the id under which its verdict will come.

        Raises TriggerRefusedError where none is promised.
        """
        triggering = self._camera.capabilities.triggering
        if triggering is not Triggering.SOFTWARE:
            how = "an electric signal" if triggering is Triggering.HARDWARE else "nothing but itself"
            raise TriggerRefusedError(f"camera {self.name} is triggered by {how}")
        return self._capture.inbox.post(part_id, encoder).trigger_id

    def supervise(self) -> None:
        """Start failed workers again; disarm when the budget for that is spent, or where one hangs."""
        if self.disarmed:
            moving = [self._moves(worker) for worker in (self._feeding, self._collecting)]
            if not all(moving):
                self._fed.close()
            if not any(moving):
                self._finish_off(f"disarmed: {self.why_disarmed}")
            return
        self._supervisor.check()
        if self.disarmed:
            self._disarm()
        else:
            self._watch_driver()

    def distrust(self, reason: str) -> None:
        """Believe no score any more, not even of the parts taken already, and disarm. From any thread."""
        self._collector.distrust(f"disarmed: {reason}")
        self._distrusted = reason
        self._disarm()

    def stop_taking(self) -> None:
        """Accept no trigger and ask the capture to end; `drain` waits for it."""
        self._capture.inbox.close("the station is stopping")
        self._capturing.request_stop()

    def drain(self, deadline: float) -> None:
        """Take no more parts and judge those taken; what cannot be judged by `deadline` (monotonic) is NotDecidable.

        Raises WorkerError where that happens.
        """
        self._capturing.request_stop()
        failure = self._ended(self._capturing, deadline)
        self._capture.settle("the station is stopping")
        self._frames.close()
        failure = failure or self._ended(self._feeding, deadline)
        self._fed.close()
        failure = failure or self._ended(self._collecting, deadline)
        if self.disarmed or failure is not None:
            self._finish_off(str(failure or f"disarmed: {self.why_disarmed}"))
        if failure is not None and not self.disarmed:
            raise failure

    def _ended(self, worker: Worker, deadline: float) -> WorkerError | None:
        if self.disarmed and not self._moves(worker):
            return None
        try:
            worker.join(deadline - time.monotonic())
        except WorkerError as error:
            return error
        return None

    def _disarm(self) -> None:
        self._health.disarm(self.why_disarmed)
        self._capture.inbox.close(f"camera {self.name} is disarmed")
        self._capture.settle(f"disarmed: {self.why_disarmed}")
        self._frames.close()
        self._capturing.request_stop()

    def _watch_driver(self) -> None:
        if hangs(self._capturing, self._limits.hang_s, time.monotonic()):
            fault = f"{self._camera.name} has not come back from its driver for {self._limits.hang_s:g} s"
            self._health.fault(_STUCK, fault)
            self._capture.settle(f"camera lost: {fault}")
        else:
            self._health.clear(_STUCK)

    def _finish_off(self, reason: str) -> None:
        """Where nobody is left to judge what was taken, it is NotDecidable."""
        if self._outlet.shut:
            return
        self._outlet.shut = True
        for fed in self._leftovers():
            self._outlet.put_last(judgement(self.name, fed, fed.decision or undecidable(reason)))

    def _leftovers(self) -> Iterator[Fed]:
        """What was taken and not judged, in order."""
        hanging = self._collecting.alive
        if self._collector.at_work is not None:
            if not hanging:
                self._collector.at_work.discard()
            yield self._collector.at_work
        while (fed := self._fed.get_if(lambda _: True)) is not None:
            # Other cameras need the engine's requests, which only their results give back.
            if hanging:
                threading.Thread(target=fed.discard, name=f"{self.name}.discard", daemon=True).start()
            else:
                fed.discard()
            yield fed
        if self._feeder.at_work is not None:
            yield self._unfed(self._feeder.at_work)
        while (frame := self._frames.get_if(lambda _: True)) is not None:
            yield self._unfed(frame)

    def _unfed(self, frame: Frame) -> Fed:
        return Fed(frame, self.product, Stopwatch(frame), None, undecidable(frame.fault) if frame.fault else None)

    def _moves(self, worker: Worker) -> bool:
        return worker.alive and not hangs(worker, self._limits.hang_s, time.monotonic())

    def _frame_queue(self) -> BoundedQueue[Frame]:
        can = self._camera.capabilities
        if can.free_running:
            return BoundedQueue(1, Policy.LATEST, lambda _: self._health.count_drop(NEWER_FRAME))
        # Of a triggered camera, capture lets only so many pictures in; overruns and missing frames weigh nothing.
        return BoundedQueue(self._limits.frames if can.triggering is Triggering.NONE else _MOST_PARTS, Policy.ALL)
