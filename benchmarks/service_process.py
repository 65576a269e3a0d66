"""A process that is started again whenever it is gone, as systemd does it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

# RestartSec of the units.
_RESTART_S = 1.0


class Service:
    """One command. `outages` are the times without it (monotonic, in seconds). Use it as a context manager."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.outages: list[tuple[float, float]] = []
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its number, which it keeps until it is started again."""
        if self._process is None:
            raise ValueError(f"{self.name} was never started")
        return self._process.pid

    def start(self) -> None:
        """Start the process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def send(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Kill it, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start_again(self) -> None:
        """Wait for its end, and start it anew."""
        if self._process is not None:
            self._process.wait()
        gone = time.monotonic()
        time.sleep(_RESTART_S)
        self.start()
        self.outages.append((gone, time.monotonic()))
