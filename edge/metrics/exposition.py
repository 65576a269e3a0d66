"""What the heartbeat says, as metrics: names with units, labels from the station file and from fixed lists only.

A counter is there from the first scrape on, at 0: of one that comes with its first event Prometheus sees no increase.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from edge.archive.archivist import LOSS_CAUSES
from edge.health import DROP_CAUSES
from edge.metrics.latencies import BOUNDS_MS, Histogram
from edge.metrics.station import Station
from edge.verdict import ArchiveStatus, CameraStatus, Evaluation, Heartbeat, State
from engines import __version__
from engines.extras import import_extra

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_PREFIX = "edge_inspect_"
_COUNTED = {Evaluation.OK: "ok", Evaluation.NOT_OK: "not_ok", Evaluation.NOT_DECIDABLE: "not_decidable"}


@dataclass(frozen=True)
class _Row:
    """One sample of a metric: its labels' values and its own."""

    labels: tuple[str, ...]
    value: float


class StationCollector:
    """Reads the station anew at each scrape; nothing is counted twice, and nothing is kept of a part."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def collect(self) -> Iterator[Metric]:
        """Every metric of the station."""
        beat = self._station.status()
        yield _core().InfoMetricFamily(f"{_PREFIX}build", "The daemon's version and station.", value=_build(beat))
        yield from _of_station(beat)
        yield _counter("worker_restarts", "Workers started again.", ("worker",), self._restarts(beat))
        yield from _of_cameras(beat.cameras)
        yield from _of_drift(beat.cameras)
        yield _gauge("queue_items", "Items that wait, by queue.", ("camera", "queue"), self._queues())
        yield _gauge("threshold", "Score above which a part is NotOK.", ("camera",), self._thresholds())
        yield _latencies(self._station.latencies())
        if beat.archive is not None:
            yield from _of_archive(beat.archive)
        unaudited = [_Row((), self._station.unaudited())]
        yield _counter("audit_failures", "Entries that the audit trail lacks.", (), unaudited)

    def _restarts(self, beat: Heartbeat) -> Iterator[_Row]:
        counted = {**dict.fromkeys(self._station.workers(), 0), **beat.counters.restarts}
        return (_Row((name,), count) for name, count in counted.items())

    def _queues(self) -> Iterator[_Row]:
        return (_Row((depth.camera, depth.queue), depth.items) for depth in self._station.depths())

    def _thresholds(self) -> Iterator[_Row]:
        return (_Row((camera,), value) for camera, value in self._station.thresholds().items())


def _of_station(beat: Heartbeat) -> Iterator[Metric]:
    yield _gauge("state", "1 for the state that the station is in.", ("state",), _states((), beat.state))
    yield _gauge("state_seconds", "How long the state has lasted.", (), [_Row((), beat.state_s)])
    yield _counter("verdicts", "Verdicts of this session.", (), [_Row((), beat.last_seq)])


def _of_cameras(cameras: Mapping[str, CameraStatus]) -> Iterator[Metric]:
    states = [row for name, each in cameras.items() for row in _states((name,), each.state)]
    yield _gauge("camera_state", "1 for the state that the camera is in.", ("camera", "state"), states)
    parts = [
        _Row((name, evaluation.value), getattr(each.counters, field))
        for name, each in cameras.items()
        for evaluation, field in _COUNTED.items()
    ]
    yield _counter("parts", "Parts that were judged.", ("camera", "evaluation"), parts)
    frames = [_Row((name,), each.counters.frames) for name, each in cameras.items()]
    yield _counter("frames", "Frames taken, with triggers whose frame never came.", ("camera",), frames)
    dropped = [
        _Row((name, cause), count)
        for name, each in cameras.items()
        for cause, count in {**dict.fromkeys(DROP_CAUSES, 0), **each.counters.dropped}.items()
    ]
    yield _counter("frames_dropped", "Frames taken that have no verdict.", ("camera", "cause"), dropped)
    back = [_Row((name,), each.counters.reconnects) for name, each in cameras.items()]
    yield _counter("camera_reconnects", "Returns of a camera that was lost.", ("camera",), back)
    judged = [_Row((name, each.recipe, each.engine, each.precision), 1) for name, each in cameras.items()]
    labels = ("camera", "recipe", "engine", "precision")
    yield _gauge("recipe_info", "What judges the camera's parts.", labels, judged)


def _of_drift(cameras: Mapping[str, CameraStatus]) -> Iterator[Metric]:
    watches = [(name, watch, each) for name, camera in cameras.items() for watch, each in camera.drift.items()]
    levels = [_Row((name, watch), each.level) for name, watch, each in watches]
    yield _gauge("drift_level_ratio", "Evidence of a drift; 1 is the alarm.", ("camera", "watch"), levels)
    alarms = [_Row((name, watch), each.alarm) for name, watch, each in watches]
    yield _gauge("drift_alarm", "Whether a drift alarms.", ("camera", "watch"), alarms)


def _of_archive(archive: ArchiveStatus) -> Iterator[Metric]:
    degraded = archive.state is not State.RUNNING
    yield _gauge("archive_degraded", "Whether not everything can be kept now.", (), [_Row((), degraded)])
    yield _gauge("archive_parts", "Parts that the archive holds.", (), [_Row((), archive.parts)])
    yield _gauge("archive_size_bytes", "What it takes up.", (), [_Row((), archive.bytes)])
    yield _gauge("archive_limit_bytes", "What it may take up.", (), [_Row((), archive.limit_bytes)])
    yield _gauge("archive_waiting", "Parts to be written yet.", (), [_Row((), archive.waiting)])
    yield _counter("archive_kept", "Parts written.", (), [_Row((), archive.kept)])
    causes = {**dict.fromkeys(LOSS_CAUSES, 0), **archive.pictures_lost}
    lost = [_Row((cause,), count) for cause, count in causes.items()]
    yield _counter("archive_pictures_lost", "Parts kept without their pictures.", ("cause",), lost)
    yield _counter("archive_verdicts_lost", "Parts not kept at all.", (), [_Row((), archive.verdicts_lost)])


def _latencies(histograms: Iterable[Histogram]) -> Metric:
    family = _core().HistogramMetricFamily(
        f"{_PREFIX}stage_seconds", "Time that parts took, by stage.", labels=("camera", "stage")
    )
    for each in histograms:
        ends = [*(str(ms / 1e3) for ms in BOUNDS_MS), "+Inf"]
        family.add_metric(
            (each.camera, each.stage), list(zip(ends, accumulate(each.counts), strict=True)), each.sum_ms / 1e3
        )
    metric: Metric = family
    return metric


def _states(labels: tuple[str, ...], state: State) -> Iterator[_Row]:
    return (_Row((*labels, each.value), each is state) for each in State)


def _build(beat: Heartbeat) -> dict[str, str]:
    return {"version": __version__, "station": beat.station}


def _core() -> Any:
    return import_extra("prometheus_client.core", "web")


def _gauge(name: str, text: str, labels: tuple[str, ...], rows: Iterable[_Row]) -> Metric:
    return _filled(_core().GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=labels), rows)


def _counter(name: str, text: str, labels: tuple[str, ...], rows: Iterable[_Row]) -> Metric:
    return _filled(_core().CounterMetricFamily(f"{_PREFIX}{name}", text, labels=labels), rows)


def _filled(family: Any, rows: Iterable[_Row]) -> Metric:
    for row in rows:
        family.add_metric(row.labels, float(row.value))
    metric: Metric = family
    return metric
