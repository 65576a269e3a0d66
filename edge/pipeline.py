"""The lanes of one station, a lane a camera, and the workers that speak and listen for all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from edge.archive.lane import ArchiveLane
from edge.audit.recorder import Recorder
from edge.cameras.camera import Camera
from edge.config import StationConfig
from edge.control import Control
from edge.health import Health
from edge.inbox import TriggerRefusedError
from edge.inspector import Judgement
from edge.lane import Lane
from edge.live.lane import LiveLane
from edge.product import Product, Recipe
from edge.publisher import Publisher
from edge.queues import BoundedQueue, Policy
from edge.requests import ReplayRequest, Reply, SelfTestRequest, StatusReply, StatusRequest, Triggered, TriggerRequest
from edge.self_test import SelfTest
from edge.supervisor import Supervisor
from edge.verdict import State
from edge.worker import Worker, WorkerError

_LAST_WORDS_S = 5.0


class Pipeline:
    """One station from cameras to sockets. `announce`, then `arm`, then `supervise` until the end, then `drain`."""

    def __init__(
        self,
        config: StationConfig,
        cameras: Mapping[str, Camera],
        recipes: Mapping[str, Recipe],
        recorder: Recorder | None = None,
    ) -> None:
        """`cameras` and `recipes` by the camera's name: what each takes pictures with, and what it begins with."""
        self.health = Health(config.cameras)
        self._config = config
        self._recipes = recipes
        self._judgements: BoundedQueue[Judgement] = BoundedQueue(config.pipeline.verdicts, Policy.ALL)
        self._archive = None if config.archive is None else ArchiveLane(config.archive, config.pipeline, self.health)
        self._live = None if config.live.bind is None else LiveLane(config.live, config.pipeline, self.health)
        self.publisher = Publisher(
            config.station,
            config.publish,
            config.security,
            self._recipes_now,
            self._judgements,
            self.health,
            None if self._archive is None else self._archive.archivist,
            None if self._live is None else self._live.feed,
        )
        self._speaking = Worker("publisher", self.publisher)
        self.control = Control(config.control, config.security, recorder)
        self.control.on(ReplayRequest, self.publisher.replay)
        self.control.on(StatusRequest, lambda _: StatusReply(status=self.publisher.status()))
        self.control.on(TriggerRequest, self._trigger)
        self._listening = Worker("control", self.control) if config.control.bind else None
        self._self_test = SelfTest(config.trust, self._products, self._distrust)
        self.control.on(SelfTestRequest, self._self_test.ask)
        self._testing = Worker("self-test", self._self_test)
        limits = config.pipeline
        budget = (limits.restarts, limits.restart_window_s, limits.hang_s)
        self._supervisor = Supervisor(self._own_workers, self.health, *budget, patient=[self._testing])
        self._cameras = cameras
        self.lanes: dict[str, Lane] = {}

    @property
    def endpoint(self) -> str:
        """The address that subscribers connect to."""
        return self.publisher.endpoint

    @property
    def has_subscriber(self) -> bool:
        """Whether anybody has subscribed since the start."""
        return self.publisher.subscribed.is_set()

    @property
    def verdicts_waiting(self) -> int:
        """How many judgements wait for the publisher."""
        return len(self._judgements)

    @property
    def finished(self) -> bool:
        """Whether every source has come to its end and none of their frames is left to take."""
        return bool(self.lanes) and all(lane.finished for lane in self.lanes.values())

    @property
    def disarmed(self) -> bool:
        """Whether workers of some camera, or the publisher, failed too often: not every part is judged any more."""
        return self.silenced or any(lane.disarmed for lane in self.lanes.values())

    @property
    def silenced(self) -> bool:
        """Whether the station cannot even say how it is."""
        return bool(self._supervisor.exhausted)

    @property
    def workers(self) -> list[Worker]:
        """Every worker of the station, also those that do not run yet or any more."""
        return [*self._own_workers, *(worker for lane in self.lanes.values() for worker in lane.workers)]

    def announce(self) -> None:
        """Bind the sockets and begin the heartbeats, in state Starting. Raises ConfigError for a port in use."""
        for worker in self._own_workers:
            worker.start()
        if self._archive is not None:
            self._archive.start()
        if self._live is not None:
            self._live.start()

    def arm(self, products: Mapping[str, Product]) -> None:
        """Begin to take and judge parts, each camera's by its product. Their engines stay open until after `drain`."""
        self.health.enter(State.RUNNING)
        for name, table in self._config.cameras.items():
            health = self.health.cameras[name]
            self.lanes[name] = Lane(
                table, self._cameras[name], products[name], self._config.pipeline, self._judgements, health
            )
        for lane in self.lanes.values():
            lane.arm()

    def supervise(self) -> None:
        """Start failed workers again; disarm what spends its budget for that. Call it a few times a second."""
        for lane in self.lanes.values():
            lane.supervise()
        self._supervisor.check()
        if self._archive is not None:
            self._archive.supervise()
        if self._live is not None:
            self._live.supervise()

    def drain(self) -> None:
        """Take no more parts, judge those taken, publish everything and the last heartbeat.

        Raises WorkerError when that takes longer than `pipeline.drain_s`; the heartbeat is still sent.
        """
        self.health.enter(State.STOPPING, self.health.condition.reason)
        deadline = time.monotonic() + self._config.pipeline.drain_s
        try:
            self._drain_lanes(deadline)
        except WorkerError as error:
            self.health.enter(State.STOPPING, str(error))
            raise
        finally:
            self._end(max(deadline - time.monotonic(), _LAST_WORDS_S))

    def abandon(self, reason: str) -> None:
        """End a start that failed: say why in the last heartbeat, and nothing more."""
        self.health.enter(State.STOPPING, reason)
        self._end(_LAST_WORDS_S)

    @property
    def _own_workers(self) -> list[Worker]:
        return [worker for worker in (self._speaking, self._listening, self._testing) if worker is not None]

    def _recipes_now(self) -> dict[str, Recipe]:
        return {**self._recipes, **{name: lane.product.recipe for name, lane in self.lanes.items()}}

    def _trigger(self, request: TriggerRequest) -> Reply:
        if request.camera not in self._config.cameras:
            known = ", ".join(self._config.cameras)
            raise TriggerRefusedError(f"there is no camera {request.camera!r}; choose from {known}")
        lane = self.lanes.get(request.camera)
        if lane is None:
            raise TriggerRefusedError("no trigger is taken: the station is not armed yet")
        return Triggered(trigger_id=lane.trigger(request.part_id, request.encoder))

    def _products(self) -> list[Product]:
        """What judges now, each engine of a recipe once."""
        products = [lane.product for lane in self.lanes.values() if not lane.disarmed]
        return list({(product.recipe.name, id(product.engine)): product for product in products}.values())

    def _distrust(self, product: Product, reason: str) -> None:
        for lane in self.lanes.values():
            if not lane.disarmed and lane.product.engine is product.engine:
                lane.distrust(reason)

    def _end(self, timeout_s: float) -> None:
        self._testing.stop(timeout_s)
        if self._live is not None:
            self._live.finish(timeout_s)
        if self._listening is not None:
            self._listening.stop(timeout_s)
        self._judgements.close()
        deadline = time.monotonic() + timeout_s
        try:
            self._speaking.join(timeout_s)
        finally:
            if self._archive is not None:
                self._archive.finish(max(deadline - time.monotonic(), _LAST_WORDS_S))

    def _drain_lanes(self, deadline: float) -> None:
        failure: WorkerError | None = None
        for lane in self.lanes.values():
            lane.stop_taking()
        for lane in self.lanes.values():
            try:
                lane.drain(deadline)
            except WorkerError as error:  # the other cameras' parts are still to be judged
                failure = failure or error
        if failure is not None:
            raise failure
