"""What goes between gateway and line: what a PLC tells, and what the gateway does and shows."""

from __future__ import annotations

from dataclasses import dataclass

from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Change
from edge.requests import RecipeRequest, TriggerRequest


@dataclass(frozen=True)
class Inputs:
    """What the PLC says, all read in one piece.

    `heartbeat` changes with every cycle of its program. `trigger` is the number of the latest part that passed the
    sensor and `trigger_encoder` the encoder's count at that moment; `encoder` is the count now. `job` names the recipe
    that is wanted, 0 for none. `ack` is the number of the latest part that the PLC has sorted.
    """

    heartbeat: int = 0
    reset: bool = False
    trigger: int = 0
    trigger_encoder: int = 0
    encoder: int = 0
    job: int = 0
    ack: int = 0


@dataclass(frozen=True)
class Status:
    """What the gateway shows: the bits of the handshake. `trigger` is the number of the latest part it has taken."""

    ready: bool = False
    busy: bool = False
    stop: bool = False
    lockout: bool = False
    rate_alarm: bool = False
    error: int = 0
    job: int = 0
    trigger: int = 0


@dataclass(frozen=True)
class Switch:
    """The ejector's output goes on or off. `number` and `planned` name the part that it goes on for, and its moment."""

    on: bool
    number: int | None = None
    planned: float | None = None


@dataclass(frozen=True)
class Left:
    """A part has come to the ejector, and was sorted by this ruling."""

    ruling: Ruling


@dataclass(frozen=True)
class Ask:
    """A request to vision."""

    request: TriggerRequest | RecipeRequest


Action = Ruling | Left | Switch | Status | Change | Ask
