"""The daemon: opens what the station file names, arms the station once it is proved, and ends it in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import cv2

from edge.audit.logbook import Logbook
from edge.cameras.camera import Camera
from edge.cameras.kinds import make_camera
from edge.config import StationConfig
from edge.health import Condition
from edge.metrics.exposition import StationCollector
from edge.metrics.of_pipeline import PipelineFigures
from edge.metrics.server import MetricsServer
from edge.pipeline import Pipeline
from edge.product import Shelf, open_recipes
from edge.recipes import RecipeChanger
from edge.reload import HangUp, Reloader
from edge.requests import RecipeRequest, ReloadRequest
from edge.service.notifier import Notifier
from edge.service.watchdog import Watchdog
from edge.stop import StopRequest
from engines.errors import InspectError

_log = logging.getLogger(__name__)
_TICK_S = 0.05


def run_station(
    config: StationConfig,
    cameras: Mapping[str, Camera] | None = None,
    read_again: Callable[[], StationConfig] | None = None,
) -> int:
    """Run one station until a signal, or the end of all its sources. Exit code 0, or 1 where it had to disarm.

    `cameras` take the places of those that `config` describes under the same names; the pauses between two tries of
    their tables still count. `read_again` reads the station file again, for SIGHUP and for requests. Raises
    InspectError where it cannot be armed: bundle, calibration, engine, parity gate, address.
    """
    # One small resize at a time: OpenCV's pool would only take cores from the engine.
    cv2.setNumThreads(1)
    with StopRequest() as stop, HangUp() as hang_up, Shelf(config.engine) as shelf, ExitStack() as context:
        opened = open_recipes(config, map(config.recipe_of, config.cameras))
        recipes = {name: opened[config.recipe_of(name)] for name in config.cameras}
        sources = {name: make_camera(table) for name, table in config.cameras.items()}
        log = context.enter_context(Logbook(config.audit, config.station))
        pipeline = Pipeline(config, {**sources, **(cameras or {})}, recipes, log.recorder)
        log.follow(pipeline)
        if config.metrics is not None:
            figures = PipelineFigures(pipeline, log.recorder, config.pipeline.hang_s)
            served = context.enter_context(MetricsServer("metrics", config.metrics, StationCollector(figures)))
            _log.info("metrics are at http://%s/metrics", served.address)
        reloader = Reloader(config, read_again or (lambda: config))
        changer = context.enter_context(RecipeChanger(lambda: reloader.config, shelf, lambda: pipeline.lanes))
        pipeline.control.on(RecipeRequest, changer.change)
        pipeline.control.on(ReloadRequest, reloader.answer)
        try:
            pipeline.announce()
            _log.info("station %s publishes on %s", config.station, pipeline.endpoint)
            products = {name: shelf.take(recipe) for name, recipe in recipes.items()}
            _await_subscriber(pipeline, config.publish.wait_for_subscriber_s, stop)
            if not stop.made:
                pipeline.arm(products)
                log.note("armed")
            _watch_over(pipeline, stop, lambda: _look_round(hang_up, reloader, log))
            pipeline.drain()
            log.note("stopped")
        except Exception as error:
            pipeline.abandon(str(error))
            raise
    _log.info("station %s stopped: %s", config.station, pipeline.health.counters)
    return 1 if pipeline.disarmed else 0


def _await_subscriber(pipeline: Pipeline, limit_s: float, stop: StopRequest) -> None:
    deadline = time.monotonic() + limit_s
    while not pipeline.has_subscriber and not stop.made and time.monotonic() < deadline:
        time.sleep(_TICK_S)
    if limit_s and not pipeline.has_subscriber and not stop.made:
        _log.warning("no subscriber within %g s; going on without one", limit_s)


def _look_round(hang_up: HangUp, reloader: Reloader, log: Logbook) -> None:
    log.note_disarmed()
    if hang_up.made:
        hang_up.made = False
        try:
            log.note("reload", "SIGHUP", {"done": reloader.reload()})
        except InspectError as error:
            _log.error("the station file is wrong, and nothing has changed: %s", error)
            log.note("reload", "SIGHUP", {"refused": str(error)})


def _watch_over(pipeline: Pipeline, stop: StopRequest, look_round: Callable[[], None]) -> None:
    notifier = Notifier()
    watchdog = Watchdog(notifier, lambda: pipeline.workers)
    told = pipeline.health.condition
    notifier.ready(_status(told))
    while not stop.made and not pipeline.finished and not pipeline.silenced:
        time.sleep(_TICK_S)
        pipeline.supervise()
        look_round()
        watchdog.feed()
        if pipeline.health.condition is not told:
            told = pipeline.health.condition
            notifier.status(_status(told))
    notifier.stopping()


def _status(condition: Condition) -> str:
    return f"{condition.state.value}: {condition.reason}" if condition.reason else condition.state.value
