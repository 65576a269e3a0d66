"""The `[plc]` tables of the station file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge.metrics.table import MetricsTable
from edge.table import Address, Count, Name, Seconds, Table


class LogTable(Table, frozen=True, kw_only=True):
    """One JSON line for each ruling, part at the ejector, switch of the output, fault and change of status."""

    path: Annotated[
        Path | None, msgspec.Meta(description="File that lines are appended to; stdout where it is left out.")
    ] = None


class AnnounceTable(Table, frozen=True, kw_only=True):
    """The gateway's own heartbeat over ZeroMQ, which the live page shows (`docs/plc-map.md`)."""

    bind: Annotated[
        Address,
        msgspec.Meta(
            description="Address that subscribers connect to, `tcp://INTERFACE:PORT` or `ipc://PATH`; keys as for "
            "`[publish]`."
        ),
    ]
    heartbeat_s: Annotated[
        Seconds, msgspec.Meta(description="Interval of heartbeats. A subscriber calls three missing ones silence.")
    ] = 1.0


_Register = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class ModbusTable(Table, frozen=True, kw_only=True):
    """Modbus TCP; the PLC is the server. `docs/plc-map.md` says what its registers mean."""

    host: Annotated[str, msgspec.Meta(min_length=1, description="Name or address of the PLC.")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535, description="TCP port of the PLC.")] = 502
    unit: Annotated[int, msgspec.Meta(ge=0, le=255, description="Unit identifier of the PLC.")] = 1
    timeout_s: Annotated[
        Seconds, msgspec.Meta(description="A request that is not answered so soon has lost the PLC. There is no retry.")
    ] = 0.1
    retry_s: Annotated[Seconds, msgspec.Meta(description="Pause between two tries to connect.")] = 0.5
    heartbeat_s: Annotated[Seconds, msgspec.Meta(description="The gateway's heartbeat changes this often.")] = 0.1
    outputs_at: Annotated[_Register, msgspec.Meta(description="First holding register of the status block.")] = 0
    results_at: Annotated[_Register, msgspec.Meta(description="First holding register of the result slots.")] = 16
    slots: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=1024, description="Result slots; more than parts can be between the sensor and the ejector."
        ),
    ] = 32
    inputs_at: Annotated[_Register, msgspec.Meta(description="First holding register that the PLC writes.")] = 200
    ejector_coil: Annotated[_Register, msgspec.Meta(description="Coil that is on while a part is pushed out.")] = 0


class OpcUaTable(Table, frozen=True, kw_only=True):
    """An OPC UA server that shows state, result and handshake. Whoever reaches it can read, and nobody can write."""

    endpoint: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^opc\.tcp://.+$",
            description="Address to listen on; `opc.tcp://0.0.0.0:4840` for all.",
        ),
    ] = "opc.tcp://127.0.0.1:4840"


class MqttTable(Table, frozen=True, kw_only=True):
    """MQTT: results, faults and status as JSON with QoS 1; `PREFIX/STATION/online` is the last will."""

    host: Annotated[str, msgspec.Meta(min_length=1, description="Name or address of the broker.")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535, description="TCP port of the broker.")] = 1883
    prefix: Annotated[str, msgspec.Meta(pattern=r"^[^#+\s]{1,128}$", description="First part of every topic.")] = (
        "edge-inspect"
    )
    keepalive_s: Annotated[Seconds, msgspec.Meta(description="Unheard of for 1.5 times this is offline.")] = 5.0
    waiting: Annotated[Count, msgspec.Meta(description="Messages that wait while the broker is absent.")] = 10_000
    user: Annotated[str | None, msgspec.Meta(description="User name at the broker.")] = None
    password: Annotated[Path | None, msgspec.Meta(description="File with the password of `user`.")] = None
    ca: Annotated[
        Path | None, msgspec.Meta(description="Certificate that the broker's is signed by; with it, TLS is used.")
    ] = None


class GpioTable(Table, frozen=True, kw_only=True):
    """Digital outputs of this machine through the kernel's GPIO character device."""

    ejector: Annotated[int, msgspec.Meta(ge=0, le=1023, description="Line that drives the ejector.")]
    ready: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=1023)] | None, msgspec.Meta(description="Line that is active while Ready.")
    ] = None
    chip: Annotated[Path, msgspec.Meta(description="Device of the chip.")] = Path("/dev/gpiochip0")
    active_low: Annotated[bool, msgspec.Meta(description="Active is the low level.")] = False


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
    connect: Annotated[
        Address | None, msgspec.Meta(description="Where verdicts come from; the address of `[publish]` if left out.")
    ] = None
    control: Annotated[
        Address | None,
        msgspec.Meta(
            description="Where triggers, changes of recipe and lost verdicts are asked for; the address of `[control]` "
            "if left out."
        ),
    ] = None
    key: Annotated[
        Path | None,
        msgspec.Meta(
            description="Key of the gateway, which `edge-inspect keys new` made, where `[security] keys` guards the "
            "station's sockets."
        ),
    ] = None
    cameras: Annotated[
        tuple[Name, ...],
        msgspec.Meta(description="Each of them must say OK before a part is released; all of the station if left out."),
    ] = ()
    trigger_cameras: Annotated[
        bool,
        msgspec.Meta(
            description="Trigger the cameras over the control socket when the PLC tells of a part. For parts that "
            "stand or move slowly: a fast one needs a wire from the sensor to the camera."
        ),
    ] = False
    trigger_limit_s: Annotated[
        Seconds, msgspec.Meta(description="A part whose trigger is not confirmed within this time is rejected.")
    ] = 0.1
    modbus: ModbusTable | None = None
    gpio: GpioTable | None = None
    opcua: OpcUaTable | None = None
    mqtt: MqttTable | None = None
    log: LogTable | None = None
    publish: AnnounceTable | None = None
    metrics: MetricsTable | None = None

    def contradictions(self, cameras: Collection[str], controlled: bool) -> Iterator[str]:
        """What cannot be, or not be safe, in a station with these cameras, with a control socket where `controlled`."""
        if self.trigger_cameras and not (controlled or self.control):
            yield "`plc.trigger_cameras`: triggers go over the control socket; name one in `[control] bind`"
        for camera in self.cameras:
            if camera not in cameras:
                yield f"`plc.cameras`: there is no camera {camera!r}; choose from {', '.join(cameras)}"
        if self.margin >= self.travel:
            yield f"`plc.margin`: {self.margin:g} leaves nothing of the travel {self.travel:g}; choose a smaller one"
        if self.parts == "trigger" and self.modbus is None:
            yield '`plc.parts`: "trigger" needs `[plc.modbus]`, for the PLC tells of the parts; or choose "verdict"'
        if self.parts == "verdict":
            yield from self._contradictions_without_sensor(cameras)
        if self.fire == "release" and self.modbus is not None:
            yield (
                '`plc.fire`: "release" is not for Modbus: a frozen PLC could carry it out later, for another part; '
                "the result slots release by number, `docs/plc-map.md`"
            )

    def _contradictions_without_sensor(self, cameras: Collection[str]) -> Iterator[str]:
        if self.fire != "release":
            yield '`plc.fire`: parts = "verdict" needs "release", or a part without a verdict would pass'
        if self.track != "time":
            yield '`plc.track`: parts = "verdict" needs "time": a verdict does not say where the belt was'
        if len(self.cameras or cameras) != 1:
            yield '`plc.cameras`: parts = "verdict" takes one camera: nothing says which verdicts are on one part'
