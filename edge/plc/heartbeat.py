"""What the gateway says of itself on the wire: a heartbeat, in JSON as the daemon's (`docs/plc-map.md`)."""

from __future__ import annotations

from enum import Enum

import msgspec

from edge.verdict import Message, decode_message


class GatewayState(str, Enum):
    """What the gateway lets pass. Only `Ready` releases parts; in every other state all are rejected."""

    READY = "Ready"
    NOT_READY = "NotReady"
    STOPPED = "Stopped"


class PlcLink(str, Enum):
    """How the PLC is reached. `frozen`: it answers, but its program stands still. `none`: the station names none."""

    NONE = "none"
    UP = "up"
    LOST = "lost"
    FROZEN = "frozen"


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway is. `fault` names the gravest fault, and `reason` says why it is there; empty while Ready."""

    state: GatewayState
    fault: str
    reason: str
    lockout: bool
    rate_alarm: bool
    plc: PlcLink


class Sorted(msgspec.Struct, frozen=True, kw_only=True):
    """Parts that have come to the ejector since the session began. `late` are those of `rejected` whose verdicts were
    not there in time. Parts that were on the belt when the PLC was lost are in none."""

    released: int = 0
    rejected: int = 0
    late: int = 0


class GatewayHeartbeat(Message, frozen=True, kw_only=True, tag="gateway"):
    """Sign of life, sent every `interval_s` and at each change of `condition`, which has lasted `state_s` seconds in
    its present state. `faults` counts by name how often each fault has begun since the session did."""

    interval_s: float
    state_s: float
    condition: Condition
    parts: Sorted
    faults: dict[str, int]


_DECODER = msgspec.json.Decoder(GatewayHeartbeat)


def encode(message: GatewayHeartbeat) -> bytes:
    """Encode a heartbeat as JSON, without a line break inside."""
    return msgspec.json.encode(message)


def decode(data: bytes) -> GatewayHeartbeat:
    """Decode a heartbeat. Unknown fields are ignored. Raises MessageError for another schema or foreign bytes."""
    return decode_message(_DECODER, data, "a gateway's heartbeat")


def gateway_topic(station: str) -> str:
    """Topic under which the heartbeats of a station's gateway are sent."""
    return f"{station}/gateway"
