"""The worker that tells who watches how the gateway is: heartbeats over a ZeroMQ socket of the gateway's own.

The gateway's thread hands it nothing and waits for nothing. It does not give way to other programs: a thread that is
put off while it runs Python holds up the one that drives the ejector.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid

import msgspec

from edge.broadcast import Broadcast
from edge.config import SecurityTable
from edge.plc.figures import Figures
from edge.plc.heartbeat import Condition, GatewayHeartbeat, GatewayState, encode, gateway_topic
from edge.plc.tables import AnnounceTable
from edge.publisher import utc
from edge.worker import Job
from engines.errors import ConfigError

_log = logging.getLogger(__name__)
_LOOK_S = 0.05
# Kept for a reader that does not read; beyond that it misses some.
_HIGH_WATER = 10


class Announcer(Job):
    """Sends a heartbeat where one is due, something has changed, or somebody has subscribed; at the end, `Stopped`."""

    def __init__(self, station: str, table: AnnounceTable, security: SecurityTable, figures: Figures) -> None:
        self._station = station
        self._table = table
        self._figures = figures
        self._broadcast = Broadcast("plc.publish.bind", table.bind, security, _HIGH_WATER)
        self._session_id = uuid.uuid4().hex
        self._told: Condition | None = None
        self._due = 0.0

    def setup(self) -> None:
        """Bind. Raises ConfigError that names the address when it is taken, impossible, or reachable without keys."""
        self._broadcast.open()

    def step(self, stopping: threading.Event) -> bool:
        """Send what is due. False where it can be heard no more: the gateway does without it."""
        try:
            self._broadcast.attend()
        except ConfigError as error:
            _log.error("no heartbeats of the gateway any more: %s", error)
            return False
        condition = self._figures.condition
        if self._broadcast.has_newcomers() or condition != self._told or time.monotonic() >= self._due:
            self._told, self._due = condition, time.monotonic() + self._table.heartbeat_s
            self._send(condition)
        stopping.wait(_LOOK_S)
        return True

    def teardown(self) -> None:
        """Say that it ends and close; what subscribers have not taken yet is still sent, for two seconds at most."""
        try:
            if self._told is not None:
                self._send(msgspec.structs.replace(self._figures.condition, state=GatewayState.STOPPED))
        finally:
            self._broadcast.close()

    def _send(self, condition: Condition) -> None:
        beat = GatewayHeartbeat(
            session_id=self._session_id,
            station=self._station,
            sent_at=utc(time.time()),
            interval_s=self._table.heartbeat_s,
            state_s=self._figures.state_s,
            condition=condition,
            parts=self._figures.parts,
            faults=self._figures.begun,
        )
        self._broadcast.send(gateway_topic(self._station), encode(beat))
