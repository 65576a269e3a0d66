"""What the metrics want to know of a station."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from edge.metrics.latencies import Histogram
from edge.verdict import Heartbeat


@dataclass(frozen=True)
class Depth:
    """How many items wait in a queue, of a camera or of the whole station (an empty name)."""

    camera: str
    queue: str
    items: int


class Station(Protocol):
    """A station that can be looked at from any thread, at any time, without holding it up."""

    def status(self) -> Heartbeat:
        """The heartbeat of this moment."""

    def depths(self) -> Iterable[Depth]:
        """What waits where."""

    def thresholds(self) -> Mapping[str, float]:
        """By camera, what the scores of its parts are compared with."""

    def latencies(self) -> Iterable[Histogram]:
        """How long the stages took."""

    def workers(self) -> Iterable[str]:
        """Names of all workers."""

    def unaudited(self) -> int:
        """Entries of the audit trail that could not be written."""

    def stuck(self) -> str:
        """Which worker has not moved for too long; empty where all do."""
