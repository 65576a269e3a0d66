"""The output that writes down: one JSON line for everything that the gateway does."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import Any, TextIO

import msgspec

from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Change
from edge.plc.output import Output, OutputError
from edge.plc.signals import Action, Ask, Left, Switch
from edge.plc.tables import LogTable
from edge.publisher import utc


class Log(Output):
    """Lines are complete when they are written, so that a killed gateway leaves whole ones.

    `at` is UTC, `monotonic` this machine's clock in seconds, `event` one of ruling, left, switch, fault, status.
    """

    def __init__(self, table: LogTable) -> None:
        self._table = table
        self._file: TextIO = sys.stdout
        self._files = ExitStack()

    def open(self) -> None:
        """Open the file. Raises OutputError that names it."""
        if self._table.path is None:
            return
        try:
            self._file = self._files.enter_context(self._table.path.open("a", encoding="utf-8", buffering=1))
        except OSError as error:
            raise OutputError(
                f"plc.log.path: cannot write {self._table.path}: {error.strerror}; name a file in a folder of yours"
            ) from None

    def carry_out(self, action: Action) -> None:
        """Write one line. Raises OutputError where the disk does not take it."""
        line = {"at": utc(time.time()), "monotonic": round(time.monotonic(), 6), **describe(action)}
        try:
            self._file.write(msgspec.json.encode(line).decode() + "\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(f"plc.log: {error.strerror}; make room on the disk") from None

    def close(self) -> None:
        """Close the file."""
        self._files.close()
        self._file = sys.stdout


def describe(action: Action) -> dict[str, Any]:
    """An action in words and numbers, with `event` for its kind."""
    if isinstance(action, Ruling):
        return {"event": "ruling", **_ruling(action)}
    if isinstance(action, Left):
        return {"event": "left", **_ruling(action.ruling)}
    if isinstance(action, Switch):
        return {"event": "switch", **msgspec.to_builtins(action)}
    if isinstance(action, Change):
        return {"event": "fault", "fault": action.fault.word, "began": action.began, "reason": action.reason}
    if isinstance(action, Ask):
        return {"event": "asked", "request": msgspec.to_builtins(action.request)}
    return {"event": "status", **msgspec.to_builtins(action)}


def _ruling(ruling: Ruling) -> dict[str, Any]:
    return {"number": ruling.number, "evaluation": ruling.evaluation.value, "reason": ruling.reason}
