"""What can be shown over HTTP: a process with figures, that lives or hangs, and is ready or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Subject(Protocol):
    """Can be asked from any thread, at any time, without holding up what it tells of."""

    def collect(self) -> Iterable[Metric]:
        """Every metric, of this moment."""

    def stuck(self) -> str:
        """What has not moved for too long; empty where all does."""

    def readiness(self) -> tuple[bool, str]:
        """Whether it does what it is there for, and in which state it is and why."""
