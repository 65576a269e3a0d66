"""The workers of one station and the queues between them: capture, inspection, publishing."""

from __future__ import annotations

import time

from edge.cameras.camera import Camera, Frame
from edge.capture import Capture
from edge.config import StationConfig
from edge.decision import Judge
from edge.health import Health
from edge.inspector import Collector, Fed, Feeder, Judgement
from edge.publisher import Publisher
from edge.queues import BoundedQueue, Policy
from edge.supervisor import Supervisor
from edge.verdict import State
from edge.worker import Worker, WorkerError
from engines.bundle import Bundle, Calibration
from engines.engine import Engine


class Pipeline:
    """One station from camera to socket. `announce`, then `arm`, then `supervise` until the end, then `drain`."""

    def __init__(self, config: StationConfig, bundle: Bundle, calibration: Calibration, camera: Camera) -> None:
        self.health = Health()
        self._config = config
        self._camera = camera
        self._judge = Judge(calibration.threshold, calibration.map_threshold, bundle.info.preprocessing)
        self._frames = self._frame_queue(camera)
        self._judgements: BoundedQueue[Judgement] = BoundedQueue(config.pipeline.verdicts, Policy.ALL)
        self._publisher = Publisher(
            config.station, config.publish, bundle.digest, calibration, self._judgements, self.health
        )
        self._speaking = Worker("publisher", self._publisher)
        self._feeding: Worker | None = None
        self._collecting: Worker | None = None
        self._capturing: Worker | None = None
        self._supervisor: Supervisor | None = None

    @property
    def endpoint(self) -> str:
        """The address that subscribers connect to."""
        return self._publisher.endpoint

    @property
    def has_subscriber(self) -> bool:
        """Whether anybody has subscribed since the start."""
        return self._publisher.subscribed.is_set()

    @property
    def finished(self) -> bool:
        """Whether the source has come to its end and none of its frames is left to take."""
        worker = self._capturing
        return worker is not None and not worker.alive and worker.failure is None

    @property
    def disarmed(self) -> bool:
        """Whether workers failed too often, so that the station judges no part any more."""
        return self._supervisor is not None and bool(self._supervisor.exhausted)

    @property
    def silenced(self) -> bool:
        """Whether the station is disarmed and cannot even say so."""
        return self.disarmed and not self._speaking.alive

    def announce(self) -> None:
        """Bind the socket and begin the heartbeats, in state Starting. Raises ConfigError for a port in use."""
        self._speaking.start()

    def arm(self, engine: Engine) -> None:
        """Begin to take and judge parts. The caller keeps `engine` open until after `drain`."""
        # The engine has one request more than it works on side by side: these wait here, and one is being collected.
        fed: BoundedQueue[Fed] = BoundedQueue(engine.in_flight, Policy.ALL)
        self._feeding = Worker("feeder", Feeder(engine, self._judge.preprocessing, self._frames, fed))
        self._collecting = Worker("collector", Collector(self._judge, fed, self._judgements))
        table = self._config.camera
        capture = Capture(self._camera, self._frames, self.health, table.retry_s, table.retry_max_s)
        self._capturing = Worker("capture", capture)
        workers = (self._speaking, self._collecting, self._feeding, self._capturing)
        limits = self._config.pipeline
        self._supervisor = Supervisor(workers, self.health, limits.restarts, limits.restart_window_s)
        self._collecting.start()
        self._feeding.start()
        self.health.enter(State.RUNNING)
        self._capturing.start()

    def supervise(self) -> None:
        """Start failed workers again; disarm when the budget for that is spent. Call it a few times a second."""
        if self._supervisor is None or self.disarmed:
            return
        self._supervisor.check()
        if self.disarmed:
            self.health.enter(State.DISARMED, self._supervisor.exhausted)
            self._frames.close()
            if self._capturing is not None:
                self._capturing.request_stop()

    def drain(self) -> None:
        """Take no more parts, judge those taken, publish everything and the last heartbeat.

        Raises WorkerError when that takes longer than `pipeline.drain_s`; the heartbeat is still sent.
        """
        if not self.disarmed:
            self.health.enter(State.STOPPING, self.health.condition.reason)
        deadline = time.monotonic() + self._config.pipeline.drain_s
        try:
            if self._capturing is not None:
                self._capturing.stop(deadline - time.monotonic())
            self._frames.close()
            for worker in (self._feeding, self._collecting):
                if worker is not None:
                    worker.join(deadline - time.monotonic())
        except WorkerError as error:
            self.health.enter(State.STOPPING, str(error))
            raise
        finally:
            self._judgements.close()
            self._speaking.join(max(deadline - time.monotonic(), 5.0))

    def abandon(self, reason: str) -> None:
        """End a start that failed: say why in the last heartbeat, and nothing more."""
        self.health.enter(State.STOPPING, reason)
        self._judgements.close()
        self._speaking.join(5.0)

    def _frame_queue(self, camera: Camera) -> BoundedQueue[Frame]:
        free_running = camera.capabilities.free_running
        return BoundedQueue(
            1 if free_running else self._config.pipeline.frames,
            Policy.LATEST if free_running else Policy.ALL,
            lambda _: self.health.count_drop("newer frame"),
        )
