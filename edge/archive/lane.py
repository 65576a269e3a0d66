"""The archive's worker and who watches it: whatever becomes of it, the station judges and publishes as before."""

from __future__ import annotations

import logging
from contextlib import suppress

from edge.archive.archivist import Archivist
from edge.archive.table import ArchiveTable
from edge.config import PipelineTable
from edge.health import Health
from edge.supervisor import Supervisor
from edge.worker import Worker, WorkerError

_log = logging.getLogger(__name__)


class ArchiveLane:
    """One station's archiving. `start`, then `supervise` until the end, then `finish`."""

    def __init__(self, table: ArchiveTable, limits: PipelineTable, health: Health) -> None:
        self.archivist = Archivist(table)
        self._worker = Worker("archive", self.archivist)
        # Patient: a disk that is away may hang a thread for good, and nobody waits for this one.
        self._supervisor = Supervisor(
            [self._worker], health, limits.restarts, limits.restart_window_s, limits.hang_s, patient=[self._worker]
        )

    def start(self) -> None:
        """Begin to archive; where that fails, `supervise` sees it."""
        with suppress(Exception):
            self._worker.start()

    def supervise(self) -> None:
        """Start the worker again where it failed, within a budget; beyond that no part is archived any more."""
        self._supervisor.check()
        if self._supervisor.exhausted:
            self.archivist.give_up(self._supervisor.exhausted)

    def finish(self, timeout_s: float) -> None:
        """Write what waits, as far as that can be done within the time."""
        self.archivist.close()
        try:
            self._worker.join(timeout_s)
        except WorkerError:
            self._worker.request_stop()
            _log.error("the archive was not done within %.1f s; what waited is not kept", timeout_s)
