"""Signs of life for systemd's watchdog, given only while every worker really moves."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from edge.service.notifier import Notifier

_log = logging.getLogger(__name__)
# A worker may pause for half the time that systemd waits: the other half is for the kill to come in time.
_PATIENCE = 0.5
_SIGNS_A_PERIOD = 8


class Moving(Protocol):
    """What can be watched: a worker, or anything that says when it last got on."""

    name: str

    @property
    def alive(self) -> bool:
        """Whether it runs; one that has ended is its supervisor's matter."""

    @property
    def moved_at(self) -> float:
        """When it last got on with its work or found that there was none (monotonic, in seconds)."""


class Watchdog:
    """Feeds systemd's watchdog while all `workers()` move. Where systemd has set no watchdog, it does nothing."""

    def __init__(
        self,
        notifier: Notifier,
        workers: Callable[[], Iterable[Moving]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._workers = workers
        self._clock = clock
        self._fed_at = float("-inf")
        self._stuck: tuple[str, ...] = ()

    def feed(self) -> None:
        """Give a sign of life if one is due and nobody is stuck. Call it several times a second."""
        period_s = self._notifier.watchdog_s
        now = self._clock()
        if not period_s or now - self._fed_at < period_s / _SIGNS_A_PERIOD:
            return
        stuck = tuple(w.name for w in self._workers() if w.alive and now - w.moved_at > _PATIENCE * period_s)
        if stuck != self._stuck:
            self._tell(stuck)
        if not stuck:
            self._notifier.alive()
            self._fed_at = now

    def _tell(self, stuck: tuple[str, ...]) -> None:
        self._stuck = stuck
        if stuck:
            what = f"stuck for {_PATIENCE * self._notifier.watchdog_s:g} s: {', '.join(stuck)}"
            _log.error("%s; systemd will start the service again", what)
            self._notifier.status(what)
        else:
            _log.warning("no worker is stuck any more")
