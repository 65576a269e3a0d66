"""The output that keeps the gateway's audit trail: when the line locked itself out, and who let it go on."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from edge.audit.recorder import Recorder, here
from edge.audit.trail import AuditTrail
from edge.plc.failsafe import Change, Fault
from edge.plc.output import Output
from edge.plc.signals import Action


class Audit(Output):
    """Writes down lockouts and their resets. It never waits for the disk."""

    def __init__(self, path: Path, station: str) -> None:
        self._recorder = Recorder(AuditTrail(path, station))
        self._stack = ExitStack()

    def open(self) -> None:
        """Begin to write."""
        self._stack.enter_context(self._recorder)

    def carry_out(self, action: Action) -> None:
        """Write down a lockout that began or ended."""
        if not isinstance(action, Change) or action.fault is not Fault.LOCKOUT:
            return
        if action.began:
            self._recorder.note("lockout", here(), {"reason": action.reason})
        else:
            self._recorder.note("lockout reset", action.reason)

    def close(self) -> None:
        """Write what waits."""
        self._stack.close()
