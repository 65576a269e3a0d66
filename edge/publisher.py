"""The worker that speaks: verdicts with gapless numbers and heartbeats, over one ZeroMQ socket."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

import msgspec

from calibration.charts import ControlChart
from calibration.drift import Watch
from edge.archive.archivist import Archivist
from edge.broadcast import Broadcast
from edge.config import PublishTable, SecurityTable
from edge.health import Condition, Health
from edge.inspector import Judgement
from edge.live.feed import LiveFeed
from edge.metrics.latencies import StageLatencies
from edge.product import Recipe
from edge.queues import BoundedQueue, QueueClosedError
from edge.replay import ReplayRing
from edge.requests import Refused, ReplayReply, ReplayRequest
from edge.sockets import LONGEST_MESSAGE
from edge.verdict import (
    CameraStatus,
    ChartStatus,
    DriftStatus,
    Evaluation,
    Heartbeat,
    StageTimes,
    State,
    Verdict,
    encode,
    heartbeat_topic,
    verdict_topic,
)
from edge.worker import Job

_log = logging.getLogger(__name__)
# How soon a change of state is told, and a new subscriber noticed, while no verdict comes.
_PATIENCE_S = 0.05
_LONGEST_REPLAY = LONGEST_MESSAGE // 2


class Publisher(Job):
    """Queue to socket. The queue's end is the station's end: all verdicts, one heartbeat `Stopped`, then no more.

    A sequence number is used up only by a message that was sent, so that numbers have no gap whatever fails.
    """

    def __init__(
        self,
        station: str,
        table: PublishTable,
        security: SecurityTable,
        recipes: Callable[[], Mapping[str, Recipe]],
        judgements: BoundedQueue[Judgement],
        health: Health,
        archivist: Archivist | None = None,
        live: LiveFeed | None = None,
    ) -> None:
        self.session_id = uuid.uuid4().hex
        self.subscribed = threading.Event()
        self._station = station
        self._table = table
        self._broadcast = Broadcast("publish.bind", table.bind, security, table.high_water)
        self._recipes = recipes
        self._told_recipes: Mapping[str, Recipe] = {}
        self._judgements = judgements
        self._health = health
        self._archivist = archivist
        self.latencies = StageLatencies(health.cameras)
        self._live = live
        self._seq = 0
        self._sent = ReplayRing(table.replay)
        self._unsent: Judgement | None = None
        self._last_verdict: bytes | None = None
        self._told: Condition | None = None
        self._due = 0.0

    def setup(self) -> None:
        """Bind. Raises ConfigError that names the address when it is taken, impossible, or reachable without keys."""
        self._broadcast.open()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return self._broadcast.endpoint

    def step(self, stopping: threading.Event) -> bool:
        """Send what is due. False after the last word."""
        self._broadcast.attend()
        try:
            if self._unsent is None:
                self._unsent = self._judgements.get(min(_PATIENCE_S, max(self._due - time.monotonic(), 0.0)))
        except QueueClosedError:
            self._health.enter(State.STOPPED, self._health.condition.reason)
            self._beat()
            return False
        # Before a heartbeat, which would show a gap to somebody who comes back and has missed the last verdict only.
        if self._notice_subscribers():
            self._tell_last()
        # Before the verdict: nobody should read a verdict of a station that has not said it runs.
        self._beat_when_due()
        if self._unsent is not None:
            self._send_verdict(self._unsent)
            self._unsent = None
        return True

    def teardown(self) -> None:
        """Close the socket; what subscribers have not taken yet is still sent, for two seconds at most."""
        self._broadcast.close()

    def _notice_subscribers(self) -> bool:
        new = self._broadcast.has_newcomers()
        if new:
            self.subscribed.set()
        return new

    def _tell_last(self) -> None:
        # To everybody, since a publisher cannot single one out: who knows them already ignores them.
        if self._last_verdict is not None:
            self._broadcast.send(verdict_topic(self._station), self._last_verdict)
        self._beat()

    def _beat_when_due(self) -> None:
        changed = self._told is not self._health.condition or self._told_recipes != self._recipes()
        if changed or time.monotonic() >= self._due:
            self._beat()

    def _beat(self) -> None:
        self._told, self._told_recipes = self._health.condition, self._recipes()
        self._broadcast.send(heartbeat_topic(self._station), encode(self.status()))
        self._due = time.monotonic() + self._table.heartbeat_s

    def _send_verdict(self, judgement: Judgement) -> None:
        verdict = self._verdict(judgement)
        message = encode(verdict)
        self._broadcast.send(verdict_topic(self._station), message)
        self._seq += 1
        self._last_verdict = message
        self._sent.append(self._seq, message)
        if verdict.evaluation is not Evaluation.OK:
            _log_rejected(verdict)
        self._health.cameras[judgement.camera].count_verdict(judgement.decision.evaluation)
        self.latencies.observe(judgement.camera, verdict.stage_ms)
        if self._archivist is not None:
            self._archivist.offer(verdict, judgement)
        if self._live is not None:
            self._live.offer(verdict, judgement)

    def replay(self, request: ReplayRequest) -> ReplayReply | Refused:
        """Verdicts that were sent, once more. Safe to call from every thread."""
        if request.session_id != self.session_id:
            return Refused(reason=f"the session is {self.session_id}: of an earlier one nothing is kept")
        first, messages = self._sent.since(request.first, request.last, _LONGEST_REPLAY)
        return ReplayReply(first=first, verdicts=tuple(map(msgspec.Raw, messages)))

    def status(self) -> Heartbeat:
        """The heartbeat of this moment. Safe to call from every thread."""
        condition = self._health.condition
        return Heartbeat(
            session_id=self.session_id,
            station=self._station,
            sent_at=utc(time.time()),
            interval_s=self._table.heartbeat_s,
            last_seq=self._seq,
            state=condition.state,
            state_s=time.monotonic() - condition.since,
            reason=_printable(condition.reason),
            counters=self._health.counters,
            cameras={name: self._camera_status(name, recipe) for name, recipe in self._recipes().items()},
            archive=None if self._archivist is None else self._archivist.status(),
        )

    def _camera_status(self, name: str, recipe: Recipe) -> CameraStatus:
        health = self._health.cameras[name]
        condition = health.condition
        return CameraStatus(
            state=condition.state,
            state_s=time.monotonic() - condition.since,
            reason=_printable(condition.reason),
            counters=health.counters,
            recipe=recipe.name,
            bundle_digest=recipe.bundle.digest,
            engine=recipe.calibration.backend,
            precision=recipe.calibration.precision,
            drift={watch.name: _drift_status(watch) for watch in health.drift.watches} if health.drift else {},
            charts={chart.guard: _chart_status(chart) for chart in health.charts.charts} if health.charts else {},
        )

    def _verdict(self, judgement: Judgement) -> Verdict:
        frame, decision = judgement.frame, judgement.decision
        threshold = judgement.recipe.calibration.threshold if decision.threshold is None else decision.threshold
        return Verdict(
            session_id=self.session_id,
            station=self._station,
            sent_at=utc(time.time()),
            seq=self._seq + 1,
            camera=judgement.camera,
            recipe=judgement.recipe.name,
            frame_id=frame.frame_id,
            part_id=None if frame.part_id is None else _printable(frame.part_id),
            trigger_id=frame.trigger_id,
            encoder=frame.encoder,
            triggered_ns=frame.triggered_ns,
            evaluation=decision.evaluation,
            reason=_printable(decision.reason),
            score=decision.score,
            threshold=threshold,
            margin=None if decision.score is None else threshold - decision.score,
            regions=decision.regions,
            bundle_digest=judgement.recipe.bundle.digest,
            captured_at=utc(frame.captured_at),
            captured_ns=frame.captured_ns,
            stage_ms=_stage_times(judgement),
            severity=decision.severity,
            review=decision.review,
        )


def _log_rejected(verdict: Verdict) -> None:
    part = verdict.part_id if verdict.part_id is not None else f"frame {verdict.frame_id}"
    fields = {
        "STATION": verdict.station,
        "CAMERA": verdict.camera,
        "VERDICT": verdict.evaluation.value,
        "SEQ": str(verdict.seq),
        "FRAME_ID": str(verdict.frame_id),
        "PART_ID": verdict.part_id or "",
    }
    _log.info("%s %s: %s", verdict.evaluation.value, part, verdict.reason, extra={"fields": fields})


def utc(seconds: float) -> str:
    """A moment of the wall clock as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")


def _drift_status(watch: Watch) -> DriftStatus:
    test = watch.design
    return DriftStatus(
        alarm=watch.alarm,
        level=watch.level,
        usual=test.usual,
        raised=test.raised,
        parts_to_alarm=round(test.parts_to_alarm),
    )


def _chart_status(chart: ControlChart) -> ChartStatus:
    objection = chart.objection  # read once: the collector may change it meanwhile
    return ChartStatus(alarm=bool(objection), level=chart.level, reason=_printable(objection))


def _stage_times(judgement: Judgement) -> StageTimes:
    now_ns = time.monotonic_ns()
    return StageTimes(
        **{stage: round(ms, 3) for stage, ms in judgement.stages.items()},
        publish=round((now_ns - judgement.decided_ns) / 1e6, 3),
        total=round((now_ns - judgement.frame.captured_ns) / 1e6, 3),
    )


def _printable(text: str) -> str:
    # File names may hold bytes that are no UTF-8; JSON cannot carry them, and must not fail over them.
    return text.encode("utf-8", "replace").decode("utf-8")
