"""What the heartbeat says, as metrics: labels from the station file and from fixed lists only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

from edge.archive.archivist import LOSS_CAUSES
from edge.health import DROP_CAUSES
from edge.metrics.families import PREFIX, Row, core, counter, gauge, info
from edge.metrics.latencies import BOUNDS_MS, Histogram
from edge.metrics.station import Station
from edge.verdict import ArchiveStatus, CameraStatus, Evaluation, Heartbeat, State

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_COUNTED = {Evaluation.OK: "ok", Evaluation.NOT_OK: "not_ok", Evaluation.NOT_DECIDABLE: "not_decidable"}


class StationCollector:
    """Reads the station anew at each scrape; nothing is counted twice, and nothing is kept of a part."""

    def __init__(self, station: Station) -> None:
        self._station = station

    def collect(self) -> Iterator[Metric]:
        """Every metric of the station."""
        beat = self._station.status()
        yield info("build", "The daemon's version and station.", beat.station)
        yield from _of_station(beat)
        yield counter("worker_restarts", "Workers started again.", ("worker",), self._restarts(beat))
        yield from _of_cameras(beat.cameras)
        yield from _of_drift(beat.cameras)
        yield gauge("queue_items", "Items that wait, by queue.", ("camera", "queue"), self._queues())
        yield gauge("threshold", "Score above which a part is NotOK.", ("camera",), self._thresholds())
        yield _latencies(self._station.latencies())
        if beat.archive is not None:
            yield from _of_archive(beat.archive)
        unaudited = [Row((), self._station.unaudited())]
        yield counter("audit_failures", "Entries that the audit trail lacks.", (), unaudited)

    def stuck(self) -> str:
        """Which worker has not moved for too long; empty where all do."""
        return self._station.stuck()

    def readiness(self) -> tuple[bool, str]:
        """Whether every part is judged, and in which state the station is and why."""
        beat = self._station.status()
        said = f"{beat.state.value}: {beat.reason}" if beat.reason else beat.state.value
        return beat.state is State.RUNNING, said

    def _restarts(self, beat: Heartbeat) -> Iterator[Row]:
        counted = {**dict.fromkeys(self._station.workers(), 0), **beat.counters.restarts}
        return (Row((name,), count) for name, count in counted.items())

    def _queues(self) -> Iterator[Row]:
        return (Row((depth.camera, depth.queue), depth.items) for depth in self._station.depths())

    def _thresholds(self) -> Iterator[Row]:
        return (Row((camera,), value) for camera, value in self._station.thresholds().items())


def _of_station(beat: Heartbeat) -> Iterator[Metric]:
    yield gauge("state", "1 for the state that the station is in.", ("state",), _states((), beat.state))
    yield gauge("state_seconds", "How long the state has lasted.", (), [Row((), beat.state_s)])
    yield counter("verdicts", "Verdicts of this session.", (), [Row((), beat.last_seq)])


def _of_cameras(cameras: Mapping[str, CameraStatus]) -> Iterator[Metric]:
    states = [row for name, each in cameras.items() for row in _states((name,), each.state)]
    yield gauge("camera_state", "1 for the state that the camera is in.", ("camera", "state"), states)
    parts = [
        Row((name, evaluation.value), getattr(each.counters, field))
        for name, each in cameras.items()
        for evaluation, field in _COUNTED.items()
    ]
    yield counter("parts", "Parts that were judged.", ("camera", "evaluation"), parts)
    frames = [Row((name,), each.counters.frames) for name, each in cameras.items()]
    yield counter("frames", "Frames taken, with triggers whose frame never came.", ("camera",), frames)
    dropped = [
        Row((name, cause), count)
        for name, each in cameras.items()
        for cause, count in {**dict.fromkeys(DROP_CAUSES, 0), **each.counters.dropped}.items()
    ]
    yield counter("frames_dropped", "Frames taken that have no verdict.", ("camera", "cause"), dropped)
    back = [Row((name,), each.counters.reconnects) for name, each in cameras.items()]
    yield counter("camera_reconnects", "Returns of a camera that was lost.", ("camera",), back)
    judged = [Row((name, each.recipe, each.engine, each.precision), 1) for name, each in cameras.items()]
    labels = ("camera", "recipe", "engine", "precision")
    yield gauge("recipe_info", "What judges the camera's parts.", labels, judged)


def _of_drift(cameras: Mapping[str, CameraStatus]) -> Iterator[Metric]:
    watches = [(name, watch, each) for name, camera in cameras.items() for watch, each in camera.drift.items()]
    levels = [Row((name, watch), each.level) for name, watch, each in watches]
    yield gauge("drift_level_ratio", "Evidence of a drift; 1 is the alarm.", ("camera", "watch"), levels)
    alarms = [Row((name, watch), each.alarm) for name, watch, each in watches]
    yield gauge("drift_alarm", "Whether a drift alarms.", ("camera", "watch"), alarms)


def _of_archive(archive: ArchiveStatus) -> Iterator[Metric]:
    degraded = archive.state is not State.RUNNING
    yield gauge("archive_degraded", "Whether not everything can be kept now.", (), [Row((), degraded)])
    yield gauge("archive_parts", "Parts that the archive holds.", (), [Row((), archive.parts)])
    yield gauge("archive_size_bytes", "What it takes up.", (), [Row((), archive.bytes)])
    yield gauge("archive_limit_bytes", "What it may take up.", (), [Row((), archive.limit_bytes)])
    yield gauge("archive_waiting", "Parts to be written yet.", (), [Row((), archive.waiting)])
    yield counter("archive_kept", "Parts written.", (), [Row((), archive.kept)])
    causes = {**dict.fromkeys(LOSS_CAUSES, 0), **archive.pictures_lost}
    lost = [Row((cause,), count) for cause, count in causes.items()]
    yield counter("archive_pictures_lost", "Parts kept without their pictures.", ("cause",), lost)
    yield counter("archive_verdicts_lost", "Parts not kept at all.", (), [Row((), archive.verdicts_lost)])


def _latencies(histograms: Iterable[Histogram]) -> Metric:
    family = core().HistogramMetricFamily(
        f"{PREFIX}stage_seconds", "Time that parts took, by stage.", labels=("camera", "stage")
    )
    for each in histograms:
        ends = [*(str(ms / 1e3) for ms in BOUNDS_MS), "+Inf"]
        family.add_metric(
            (each.camera, each.stage), list(zip(ends, accumulate(each.counts), strict=True)), each.sum_ms / 1e3
        )
    metric: Metric = family
    return metric


def _states(labels: tuple[str, ...], state: State) -> Iterator[Row]:
    return (Row((*labels, each.value), each is state) for each in State)
