"""Processes of the demo: `edge-inspect` commands as a user would start them, always ended, never waited for in vain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

from engines.errors import InspectError

_TAIL_LINES = 12
_KILL_AFTER_S = 10.0


class DemoError(InspectError):
    """A process of the demo failed, or did not answer in time."""

    exit_code = 1


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it said on stderr."""

    code: int
    errors: str


class Child:
    """An `edge-inspect` command that runs beside us. Leaving the `with` block ends it, whatever happened inside.

    Its stderr, and its stdout unless `piped`, go to the file `log`.
    """

    def __init__(self, name: str, arguments: Sequence[str], log: Path, piped: bool = False) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command_line(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else sink,
                stderr=sink,
            )

    @property
    def output(self) -> IO[bytes]:
        """The pipe from its stdout, for the caller to read and to close."""
        if self._process.stdout is None:
            raise ValueError(f"{self.name} was started without a pipe")
        return self._process.stdout

    @property
    def ended(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return the exit code. Raises DemoError when it takes longer."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end within {timeout_s:g} s") from None

    def terminate(self) -> None:
        """Ask it to end with SIGTERM."""
        self._process.terminate()

    def failure(self, what: str) -> DemoError:
        """The error to raise when it did `what`, with the last lines that it said."""
        lines = self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        said = "\n  ".join(lines) if lines else "(nothing)"
        return DemoError(f"the {self.name} {what}; its last lines in {self._log}:\n  {said}")

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self._process)


def run_command(arguments: Sequence[str], timeout_s: float) -> Outcome:
    """Run an `edge-inspect` command to its end, showing what it says. Raises DemoError when it takes longer."""
    sys.stdout.flush()
    process = subprocess.Popen(command_line(arguments), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    heard = bytearray()
    echo = threading.Thread(target=_echo, args=(process.stderr, heard), name="echo", daemon=True)
    echo.start()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        raise DemoError(
            f"edge-inspect {arguments[0]} did not end within {timeout_s:g} s; "
            "see that nothing else keeps this machine busy; --quick does less"
        ) from None
    finally:
        _end(process)
        # Bounded: a process that the command left behind could hold the pipe open for ever.
        echo.join(_KILL_AFTER_S)
    return Outcome(process.returncode, heard.decode(errors="replace"))


def command_line(arguments: Sequence[str]) -> list[str]:
    """How to start `edge-inspect` with this very Python: its script may lie outside PATH, or be another version's."""
    return [sys.executable, "-c", "import sys; from engines.cli import main; sys.exit(main())", *arguments]


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit inside the block, so that no process of ours is left behind."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _echo(source: IO[bytes], heard: bytearray) -> None:
    # In pieces, not in lines: a progress bar never ends its line.
    with source:
        while piece := os.read(source.fileno(), 4096):
            heard += piece
            sys.stderr.write(piece.decode(errors="replace"))
            sys.stderr.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
