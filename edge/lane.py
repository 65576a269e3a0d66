"""One camera: capture -> bounded queue -> feeder -> collector, on to the station's publisher."""

from __future__ import annotations

import time

from edge.cameras.camera import Camera, Frame, Triggering
from edge.cameras.tables import CameraTable
from edge.capture import Capture
from edge.capture import Limits as CaptureLimits
from edge.config import PipelineTable
from edge.health import CameraHealth
from edge.inbox import TriggerRefusedError
from edge.inspector import Collector, Fed, Feeder, Judgement
from edge.product import Product
from edge.queues import BoundedQueue, Policy
from edge.supervisor import Supervisor
from edge.worker import Worker

_MOST_PARTS = 100_000


class Lane:
    """The workers of one camera and the queues between them. `arm`, then `supervise` until the end, then `drain`.

    It fails by itself: what goes wrong here costs no other camera a part.
    """

    def __init__(
        self,
        table: CameraTable,
        camera: Camera,
        limits: PipelineTable,
        judgements: BoundedQueue[Judgement],
        health: CameraHealth,
    ) -> None:
        self.name = health.name
        self._camera = camera
        self._limits = limits
        self._judgements = judgements
        self._health = health
        self._frames = self._frame_queue()
        pauses = (table.retry_s, table.retry_max_s)
        waiting = CaptureLimits(*pauses, limits.frames, limits.triggers, limits.trigger_timeout_s)
        self._capture = Capture(camera, self._frames, health, waiting)
        self._capturing = Worker(f"{self.name}.capture", self._capture)
        self._feeding: Worker | None = None
        self._collecting: Worker | None = None
        self._supervisor: Supervisor | None = None

    @property
    def finished(self) -> bool:
        """Whether the source has come to its end and none of its frames is left to take."""
        return self._supervisor is not None and not self._capturing.alive and self._capturing.failure is None

    @property
    def disarmed(self) -> bool:
        """Whether its workers failed too often, so that it judges no part any more."""
        return self._supervisor is not None and bool(self._supervisor.exhausted)

    @property
    def workers(self) -> list[Worker]:
        """Its workers, from the last one of the way to the first."""
        return [worker for worker in (self._collecting, self._feeding, self._capturing) if worker is not None]

    def arm(self, product: Product) -> None:
        """Begin to take and judge parts. The caller keeps the product's engine open until after `drain`."""
        # The engine has one request more than it works on side by side: these wait here, and one is being collected.
        fed: BoundedQueue[Fed] = BoundedQueue(product.engine.in_flight, Policy.ALL)
        self._feeding = Worker(f"{self.name}.feeder", Feeder(product, self._frames, fed, self._limits.late_s))
        self._collecting = Worker(f"{self.name}.collector", Collector(self._health, fed, self._judgements))
        self._supervisor = Supervisor(self.workers, self._health, self._limits.restarts, self._limits.restart_window_s)
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
        """Start failed workers again; disarm when the budget for that is spent."""
        if self._supervisor is None or self.disarmed:
            return
        self._supervisor.check()
        if self.disarmed:
            self._health.disarm(self._supervisor.exhausted)
            self._capture.settle(f"camera {self.name} is disarmed")
            self._frames.close()
            self._capturing.request_stop()

    def stop_taking(self) -> None:
        """Accept no trigger and ask the capture to end; `drain` waits for it."""
        self._capture.inbox.close("the station is stopping")
        self._capturing.request_stop()

    def drain(self, deadline: float) -> None:
        """Take no more parts and judge those taken. Raises WorkerError past `deadline` (monotonic, in seconds)."""
        self._capturing.stop(deadline - time.monotonic())
        self._capture.settle("the station is stopping")
        self._frames.close()
        for worker in (self._feeding, self._collecting):
            if worker is not None:
                worker.join(deadline - time.monotonic())

    def _frame_queue(self) -> BoundedQueue[Frame]:
        can = self._camera.capabilities
        if can.free_running:
            return BoundedQueue(1, Policy.LATEST, lambda _: self._health.count_drop("newer frame"))
        # Of a triggered camera, capture lets only so many pictures in; overruns and missing frames weigh nothing.
        return BoundedQueue(self._limits.frames if can.triggering is Triggering.NONE else _MOST_PARTS, Policy.ALL)
