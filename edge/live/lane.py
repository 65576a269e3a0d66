"""The worker of live pictures and its watch: whatever becomes of it, the station judges and publishes as before."""

from __future__ import annotations

import logging

from edge.config import PipelineTable
from edge.health import Health
from edge.live.feed import LiveFeed
from edge.live.table import LiveTable
from edge.supervisor import Supervisor
from edge.worker import Worker, WorkerError

_log = logging.getLogger(__name__)


class LiveLane:
    """One station's live pictures. `start`, then `supervise` until the end, then `finish`."""

    def __init__(self, table: LiveTable, limits: PipelineTable, health: Health) -> None:
        self.feed = LiveFeed(table)
        self._worker = Worker("live", self.feed)
        # Patient: nobody waits for this worker.
        self._supervisor = Supervisor(
            [self._worker], health, limits.restarts, limits.restart_window_s, limits.hang_s, patient=[self._worker]
        )
        self._told = False

    def start(self) -> None:
        """Begin to show. Raises ConfigError for an address that cannot be listened on."""
        self._worker.start()

    def supervise(self) -> None:
        """Start the worker again where it failed, within a budget; beyond that no picture is shown any more."""
        self._supervisor.check()
        if self._supervisor.exhausted and not self._told:
            self._told = True
            _log.error("no live pictures any more: %s", self._supervisor.exhausted)

    def finish(self, timeout_s: float) -> None:
        """Show nothing any more."""
        try:
            self._worker.stop(timeout_s)
        except WorkerError as error:
            _log.error("%s", error)
