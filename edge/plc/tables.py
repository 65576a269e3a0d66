"""The `[plc]` tables of the station file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.config import Count, Seconds, Table


class LogTable(Table, frozen=True, kw_only=True):
    """One JSON line for each ruling, part at the ejector, switch of the output, fault and change of status."""

    path: Annotated[
        Path | None, msgspec.Meta(description="File that lines are appended to; stdout where it is left out.")
    ] = None


class PlcTable(Table, frozen=True, kw_only=True):
    """How parts come from the sensor to the ejector, and what happens when nobody can vouch for them."""

    travel: Annotated[
        float,
        msgspec.Meta(gt=0, description="From the part sensor to the ejector, in seconds or encoder counts (`track`)."),
    ]
    margin: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            description="A part without its verdicts so far before the ejector is rejected, in the unit of `travel`.",
        ),
    ]
    track: Annotated[
        Literal["time", "encoder"],
        msgspec.Meta(description="What tells how far parts have moved: the clock, or the PLC's encoder."),
    ] = "time"
    encoder_bits: Annotated[
        int, msgspec.Meta(ge=8, le=32, description="The encoder's counter begins again at 0 after so many bits.")
    ] = 32
    parts: Annotated[
        Literal["trigger", "verdict"],
        msgspec.Meta(
            description="What tells of a part: the PLC's counter at the part sensor, or, where there is none, its "
            'verdict. The latter needs `fire = "release"`.'
        ),
    ] = "trigger"
    fire: Annotated[
        Literal["reject", "release"],
        msgspec.Meta(description="Whether the output's pulse pushes rejected parts out or lets good ones pass."),
    ] = "reject"
    pulse_s: Annotated[Seconds, msgspec.Meta(description="How long the output stays on for one part.")] = 0.05
    on_fault: Annotated[
        Literal["reject", "stop"],
        msgspec.Meta(
            description="`reject`: parts that nobody vouches for are rejected, the line runs on; `stop`: the Stop bit "
            "asks the PLC to halt the line too."
        ),
    ] = "reject"
    hold_s: Annotated[
        Seconds,
        msgspec.Meta(description="Ready stays cleared so long after a fault such as a gap."),
    ] = 1.0
    early_s: Annotated[
        Seconds,
        msgspec.Meta(description="A verdict waits so long for the PLC to tell of its part."),
    ] = 0.25
    silence_s: Annotated[Seconds, msgspec.Meta(description="The PLC's heartbeat must change within this time.")] = 0.5
    lockout_after: Annotated[
        int,
        msgspec.Meta(
            ge=0, le=10_000, description="So many NotOK parts in a row reject all until an operator resets; 0: never."
        ),
    ] = 10
    rate_limit: Annotated[
        float, msgspec.Meta(gt=0, le=1, description="A larger share of rejected parts sets the rate alarm.")
    ] = 0.2
    rate_window: Annotated[Count, msgspec.Meta(description="Latest parts that the share is taken of.")] = 100
    poll_s: Annotated[Seconds, msgspec.Meta(description="How often the PLC is asked.")] = 0.005
    log: LogTable | None = None
