"""What the daemon says on the wire: a verdict for every part, and a heartbeat while it lives.

JSON, one message type a struct, told apart by `type`. Fields may be added within a schema version; a field is
removed or changes its meaning only with a new one. `docs/verdict-protocol.md` describes them for other languages.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

import msgspec

from engines.errors import InspectError
from engines.foreign import UNREADABLE

SCHEMA = 1


class Evaluation(str, Enum):
    """Result of one inspection, in the words of OPC 40001-101."""

    OK = "OK"
    NOT_OK = "NotOK"
    NOT_DECIDABLE = "NotDecidable"


class State(str, Enum):
    """What the daemon is able to do now. Only `Running` promises a verdict for every part."""

    STARTING = "Starting"
    RUNNING = "Running"
    DEGRADED = "Degraded"
    DISARMED = "Disarmed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"


class MessageError(InspectError):
    """Bytes from a publisher that are no message of a schema this version knows."""


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every message carries. `sent_at` is UTC, ISO 8601; `session_id` is new at every start of the daemon."""

    schema: int = SCHEMA
    session_id: str
    station: str
    sent_at: str


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """One connected area of the anomaly map above the map threshold, in pixels of the camera's own frame.

    The box covers columns `x` to `x + width - 1` and rows `y` to `y + height - 1`; `peak` is the map's largest
    value inside it, at `peak_x`, `peak_y`.
    """

    x: int
    y: int
    width: int
    height: int
    peak: float
    peak_x: int
    peak_y: int


class Severity(msgspec.Struct, frozen=True, kw_only=True):
    """How bad a rejected part is.

    `peak` is how far the score lies above the threshold. `area` is the share, 0 to 1, of the inspected picture whose
    map lies above the map threshold, and `integrated` the mean over the picture of how far it lies above. `grade` is
    `minor`, `major` or `critical` where the bundle has learned grades from labelled parts, else `uncalibrated`.
    """

    peak: float
    area: float
    integrated: float
    grade: str


class StageTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went, in milliseconds; None where the part never came to that stage.

    `publish` is the wait between the decision and the making of the message, `total` everything since capture.
    """

    capture: float
    queue: float
    preprocess: float | None = None
    infer: float | None = None
    decide: float | None = None
    publish: float = 0.0
    total: float = 0.0


class Verdict(Message, frozen=True, kw_only=True, tag="verdict"):
    """The judgement of one part, by the recipe that was in use when its frame was taken up.

    `margin` is `threshold - score`: negative where the part is NotOK. Score and margin are None, and `reason` says
    why, where the part is NotDecidable. `severity` is that of a NotOK part, None elsewhere. `captured_ns` is this
    machine's monotonic clock in nanoseconds, and so is `triggered_ns`: compare them with other values of the same
    machine only. `frame_id` is 0 where no frame came for a trigger. `review` marks a part that is OK and more unusual
    than good parts mostly are: a person should look at it.
    """

    seq: int
    camera: str
    recipe: str
    frame_id: int
    part_id: str | None
    trigger_id: int | None
    encoder: int | None = None
    triggered_ns: int | None = None
    evaluation: Evaluation
    reason: str
    score: float | None
    threshold: float
    margin: float | None
    regions: tuple[Region, ...]
    bundle_digest: str
    captured_at: str
    captured_ns: int
    stage_ms: StageTimes
    severity: Severity | None = None
    review: bool = False


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened since the session began.

    `frames` taken from the camera, with triggers whose frame never came, equal `ok + not_ok + not_decidable`, plus all
    of `dropped` (by cause), plus those still on their way. `restarts` counts workers started again, by name.
    """

    frames: int = 0
    ok: int = 0
    not_ok: int = 0
    not_decidable: int = 0
    reconnects: int = 0
    dropped: dict[str, int] = {}
    restarts: dict[str, int] = {}


class DriftStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One watch over many parts. It alarms by `alarm`, and changes no verdict.

    `level` is its evidence, 0 to 1, which is the alarm. By design it takes `parts_to_alarm` parts on average where the
    share of parts that it counts has risen from `usual` to `raised`.
    """

    alarm: bool
    level: float
    usual: float
    raised: float
    parts_to_alarm: int


class ChartStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One guard's control chart. While it alarms no part is judged, and `reason` says why.

    `level` is how far the mean of the last parts lies from that of good parts, as a share of its limit.
    """

    alarm: bool
    level: float
    reason: str


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One camera of the station and what judges its parts. Fields are those of the heartbeat, for this camera alone.

    `engine` and `precision` are those of the calibration that `recipe` is held to. `drift` holds watches by name,
    `charts` control charts by guard.
    """

    state: State
    state_s: float
    reason: str
    counters: Counters
    recipe: str
    bundle_digest: str
    engine: str
    precision: str
    drift: dict[str, DriftStatus] = {}
    charts: dict[str, ChartStatus] = {}


class ArchiveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the archive is. Whatever that is, every part has its verdict: only what is kept of it suffers.

    `state` is `Running`, or `Degraded` where pictures or verdicts cannot be kept now; `reason` says why. It holds
    `parts` parts in `bytes` bytes, of `limit_bytes` at most; `waiting` parts are to be written yet. Since the session
    began, `kept` parts were written, of `pictures_lost` (by cause) the verdict alone, and of `verdicts_lost` nothing.
    """

    state: State
    reason: str
    parts: int
    bytes: int
    limit_bytes: int
    waiting: int
    kept: int = 0
    pictures_lost: dict[str, int] = {}
    verdicts_lost: int = 0


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Sign of life, sent every `interval_s` and at each change of state.

    `last_seq` is the number of the last verdict sent (0: none yet), so that a reader notices a lost tail.
    `state_s` is how long the state has lasted, in seconds; `reason` says why it is not Running. `counters` are the
    sums over all cameras. `archive` is None where the station has none.
    """

    interval_s: float
    last_seq: int
    state: State
    state_s: float
    reason: str
    counters: Counters
    cameras: dict[str, CameraStatus]
    archive: ArchiveStatus | None = None


_Published = TypeVar("_Published", bound=Message)
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Verdict | Heartbeat)


def encode(message: Verdict | Heartbeat) -> bytes:
    """Encode one message as JSON, without a line break inside."""
    return _ENCODER.encode(message)


def decode(data: bytes) -> Verdict | Heartbeat:
    """Decode one message. Unknown fields are ignored. Raises MessageError for another schema or foreign bytes."""
    return decode_message(_DECODER, data, "a verdict or heartbeat")


def decode_message(decoder: msgspec.json.Decoder[_Published], data: bytes, what: str) -> _Published:
    """Decode one message of the types that `decoder` knows, called `what` in errors. Unknown fields are ignored.

    Raises MessageError for another schema or foreign bytes.
    """
    try:
        message = decoder.decode(data)
    except UNREADABLE as error:
        raise MessageError(f"expected {what} of schema {SCHEMA}, found other bytes: {error}") from None
    if message.schema != SCHEMA:
        raise MessageError(
            f"expected {what} of schema {SCHEMA}, found schema {message.schema}; "
            "install the same version of edge-inspect on both sides"
        )
    return message


def verdict_topic(station: str) -> str:
    """Topic under which a station's verdicts are sent."""
    return f"{station}/verdict"


def heartbeat_topic(station: str) -> str:
    """Topic under which a station's heartbeats are sent."""
    return f"{station}/heartbeat"
