"""The daemon: proves that the engine computes what was calibrated, arms the station, and ends it in order."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

import cv2

from calibration.golden import check_parity
from edge.cameras.camera import Camera
from edge.cameras.kinds import make_camera
from edge.config import EngineTable, StationConfig
from edge.pipeline import Pipeline
from engines.bundle import Bundle, Calibration
from engines.engine import Engine
from engines.errors import CalibrationError
from engines.registry import open_engine
from engines.tuning import best_in_flight

_log = logging.getLogger(__name__)
_TICK_S = 0.05


class StopRequest:
    """SIGTERM or SIGINT while it is entered sets `made`; a second signal ends the process at once."""

    def __init__(self) -> None:
        # A plain flag: taking a lock inside a signal handler can deadlock with the code that was interrupted.
        self.made = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)


def run_station(config: StationConfig, camera: Camera | None = None) -> int:
    """Run one station until a signal, or the end of a finite source. Exit code 0, or 1 where it had been disarmed.

    `camera` takes the place of the one that `config` describes, whose pauses between two tries still count.
    Raises InspectError where it cannot be armed: bundle, calibration, engine, parity gate, address.
    """
    # One small resize at a time: OpenCV's pool would only take cores from the engine.
    cv2.setNumThreads(1)
    with StopRequest() as stop:
        bundle = Bundle.open(config.bundle)
        calibration = choose_calibration(bundle, config.engine)
        pipeline = Pipeline(config, bundle, calibration, camera or make_camera(config.camera))
        pipeline.announce()
        _log.info("station %s publishes on %s", config.station, pipeline.endpoint)
        try:
            with _proved_engine(bundle, calibration, config.engine) as engine:
                _await_subscriber(pipeline, config.publish.wait_for_subscriber_s, stop)
                if not stop.made:
                    pipeline.arm(engine)
                _watch_over(pipeline, stop)
                pipeline.drain()
        except Exception as error:
            pipeline.abandon(str(error))
            raise
    _log.info("station %s stopped: %s", config.station, pipeline.health.counters)
    return 1 if pipeline.disarmed else 0


def choose_calibration(bundle: Bundle, table: EngineTable) -> Calibration:
    """Pick the latest calibration that the `[engine]` table admits. Raises CalibrationError with the remedy."""
    for calibration in reversed(bundle.info.calibrations):
        if table.backend in ("auto", calibration.backend) and table.precision in ("auto", calibration.precision):
            return calibration
    if (table.backend, table.precision) == ("auto", "auto"):
        return bundle.latest_calibration
    return bundle.calibration_for(table.backend, table.precision)


@contextmanager
def _proved_engine(bundle: Bundle, calibration: Calibration, table: EngineTable) -> Iterator[Engine]:
    """Open the engine and let it through the parity gate, so that the threshold is worth something."""
    began = time.monotonic()
    name = (calibration.backend, calibration.precision)
    in_flight, finding = _in_flight(bundle, name, table)
    with open_engine(bundle, *name, in_flight) as engine:
        engine.warmup()
        gate = check_parity(engine, bundle, calibration)
        if not gate.passed:
            raise CalibrationError(f"the parity gate keeps {bundle.path} disarmed: {gate.reason}")
        about = engine.description
        _log.info(
            "%s %s on %s, %s, passed the parity gate (%s); ready in %.1f s",
            *(about.backend, about.precision, about.device, finding, gate.reason, time.monotonic() - began),
        )
        yield engine


def _in_flight(bundle: Bundle, name: tuple[str, str], table: EngineTable) -> tuple[int, str]:
    if table.in_flight == "auto":
        return best_in_flight(bundle, *name)
    return table.in_flight, f"{table.in_flight} in flight"


def _await_subscriber(pipeline: Pipeline, limit_s: float, stop: StopRequest) -> None:
    deadline = time.monotonic() + limit_s
    while not pipeline.has_subscriber and not stop.made and time.monotonic() < deadline:
        time.sleep(_TICK_S)
    if limit_s and not pipeline.has_subscriber and not stop.made:
        _log.warning("no subscriber within %g s; going on without one", limit_s)


def _watch_over(pipeline: Pipeline, stop: StopRequest) -> None:
    while not stop.made and not pipeline.finished and not pipeline.silenced:
        time.sleep(_TICK_S)
        pipeline.supervise()
