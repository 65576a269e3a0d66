"""What everything that carries out the controller's actions offers to the gateway."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

from edge.plc.signals import Action
from engines.errors import InspectError


class OutputError(InspectError):
    """A line output that cannot be opened or reached."""

    exit_code = 1


class Output(ABC):
    """One way out to the line. Used by one thread, as a context manager."""

    def __enter__(self) -> Output:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Acquire what is needed. Raises OutputError, ConfigError or UsageError where that can never succeed."""

    @abstractmethod
    def carry_out(self, action: Action) -> None:
        """Do one action, or nothing where it is none of this output's business. Raises OutputError."""

    @abstractmethod
    def close(self) -> None:
        """Leave the line in its safe state and release everything. Calling it twice is harmless."""
