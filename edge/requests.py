"""What the running daemon can be asked over its control socket, and what it answers.

JSON, one type a struct, told apart by `type`. A request of an unknown type or with an unknown field is refused.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from edge.table import Name
from edge.verdict import Heartbeat, MessageError
from engines.foreign import UNREADABLE

SCHEMA = 1
Job = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
LONGEST_TEXT = 256
Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What every request carries. The reply repeats `request_id`, whatever the asker chose.

    `asked_by` is who asks, in their own words: a login name, `user@host`. The audit trail has it beside the key's name.
    """

    schema: int = SCHEMA
    request_id: Text = ""
    asked_by: Text = ""


class StatusRequest(Request, frozen=True, kw_only=True, tag="status"):
    """How are the station and its cameras? Answered with a `StatusReply`."""


class ReplayRequest(Request, frozen=True, kw_only=True, tag="replay"):
    """Send verdicts `first` to `last` of a session again. Answered with a `ReplayReply`."""

    session_id: Text
    first: Annotated[int, msgspec.Meta(ge=1)]
    last: Annotated[int, msgspec.Meta(ge=1)]


class RecipeRequest(Request, frozen=True, kw_only=True, tag="recipe"):
    """Judge the parts of `camera`, or of every camera, by another recipe: named by `recipe` or by its `job` number."""

    camera: Name | None = None
    recipe: Name | None = None
    job: Job | None = None


class TriggerRequest(Request, frozen=True, kw_only=True, tag="trigger"):
    """A part stands before `camera`: take its picture. `part_id` and `encoder` come back in its verdict."""

    camera: Name
    part_id: Text | None = None
    encoder: int | None = None


class ReloadRequest(Request, frozen=True, kw_only=True, tag="reload"):
    """Read the station file again, as after SIGHUP. The reply says what has changed and what needs a restart."""


class SelfTestRequest(Request, frozen=True, kw_only=True, tag="self_test"):
    """Replay the golden parts through the engines that judge now. Answered with a `SelfTestReply`."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every reply carries."""

    schema: int = SCHEMA
    request_id: str = ""


class Done(Reply, frozen=True, kw_only=True, tag="done"):
    """It was done; `message` says what."""

    message: str


class Refused(Reply, frozen=True, kw_only=True, tag="refused"):
    """It was not done, and nothing has changed; `reason` says why."""

    reason: str


class Triggered(Reply, frozen=True, kw_only=True, tag="triggered"):
    """The trigger was accepted: exactly one verdict of the camera will have this `trigger_id`."""

    trigger_id: int


class StatusReply(Reply, frozen=True, kw_only=True, tag="status"):
    """The heartbeat that the station would send now."""

    status: Heartbeat


class ReplayReply(Reply, frozen=True, kw_only=True, tag="replay"):
    """Verdicts of the session from number `first` on, as they were sent; as many as one reply holds.

    `first` is greater than what was asked for where the daemon does not keep the older ones any more. Whoever wants
    more than came asks again from there. No verdict: none of those asked for is kept.
    """

    first: int
    verdicts: tuple[msgspec.Raw, ...]


class SelfTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """What golden parts said of one recipe's engine.

    `worst_drift` is the largest distance of a score from the calibrated one, in units of the score; null where an
    engine gave no number. `reason` says what was found.
    """

    passed: bool
    worst_drift: float | None
    tolerance: float
    reason: str


class SelfTestReply(Reply, frozen=True, kw_only=True, tag="self_test"):
    """The self-test was made. Cameras whose recipe did not pass are disarmed. `recipes` holds results by name."""

    passed: bool
    recipes: dict[str, SelfTestResult]


# What a client may ask whose key lets it only read; everything else changes what the station does.
READING = (StatusRequest, ReplayRequest)
# What the audit trail has an entry of, refused or not. Triggers come several times a second.
AUDITED = (RecipeRequest, ReloadRequest)

AnyRequest = StatusRequest | ReplayRequest | RecipeRequest | TriggerRequest | ReloadRequest | SelfTestRequest
AnyReply = Done | Refused | Triggered | StatusReply | ReplayReply | SelfTestReply
_Message = TypeVar("_Message", AnyRequest, AnyReply)

_ENCODER = msgspec.json.Encoder()
_REQUESTS = msgspec.json.Decoder(AnyRequest)
_REPLIES = msgspec.json.Decoder(AnyReply)


def encode(message: Request | Reply) -> bytes:
    """Encode one request or reply as JSON."""
    return _ENCODER.encode(message)


def decode_request(data: bytes) -> AnyRequest:
    """Decode one request. Raises MessageError for what is none, or one of another schema."""
    return _checked(_REQUESTS, data)


def decode_reply(data: bytes) -> AnyReply:
    """Decode one reply. Raises MessageError for what is none, or one of another schema."""
    return _checked(_REPLIES, data)


def _checked(decoder: msgspec.json.Decoder[_Message], data: bytes) -> _Message:
    try:
        message = decoder.decode(data)
    except UNREADABLE as error:
        raise MessageError(f"not understood: {error}") from None
    if message.schema != SCHEMA:
        raise MessageError(
            f"expected schema {SCHEMA}, found {message.schema}; install the same version of edge-inspect on both sides"
        )
    return message
