"""The page as a service: it tells systemd that it can be asked, and gives its signs of life from its own event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from edge.service.notifier import Notifier
from edge.service.watchdog import Watchdog
from edge.worker import Worker

_log = logging.getLogger(__name__)
_LOOK_S = 0.25


class Watched:
    """Entered in the event loop when the page can be asked, left when it ends.

    `workers` are what it hears by. One that has failed would leave the page showing an old state as if it were the
    present one, so `give_up` is called then.
    """

    def __init__(self, station: str, address: str, workers: Sequence[Worker], give_up: Callable[[], None]) -> None:
        self._station = station
        self._address = address
        self._workers = workers
        self._give_up = give_up
        self._notifier = Notifier()
        self._watchdog = Watchdog(self._notifier, lambda: workers)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watched:
        _log.info("station %s is shown on %s", self._station, self._address)
        self._notifier.ready(f"shown on {self._address}")
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notifier.stopping()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _look(self) -> None:
        while all(worker.alive for worker in self._workers):
            self._watchdog.feed()
            await asyncio.sleep(_LOOK_S)
        self._give_up()
