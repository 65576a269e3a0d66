"""The output that counts: how the gateway is and what it has sorted, for whoever wants to look from another thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from edge.plc.conveyor import NO_VERDICT
from edge.plc.failsafe import Change, Fault
from edge.plc.heartbeat import Condition, GatewayState, PlcLink, Sorted
from edge.plc.output import Output
from edge.plc.signals import Action, Left, Status


class Figures(Output):
    """Written by the gateway's thread alone, without a lock and a wait; read from any thread.

    `faults` are those that hold, with their reasons: replaced and never changed, so that a reader's agree.
    """

    def __init__(self, has_plc: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.faults: Mapping[Fault, str] = {Fault.STARTING: "the gateway has just started"}
        self._has_plc = has_plc
        self._clock = clock
        self._since = self._turned_at = clock()
        self._rate_alarm = False
        self._released = self._rejected = self._late = 0
        self._begun = dict.fromkeys(Fault, 0)

    def open(self) -> None:
        """Nothing is needed."""

    def close(self) -> None:
        """Nothing is held."""

    def carry_out(self, action: Action) -> None:
        """Count one action. It never fails."""
        if isinstance(action, Left):
            self._count(action)
        elif isinstance(action, Change):
            self._note(action)
        elif isinstance(action, Status):
            self._rate_alarm = action.rate_alarm

    def turned(self) -> None:
        """The gateway's loop has come round."""
        self._turned_at = self._clock()

    @property
    def stands_s(self) -> float:
        """For how long the loop has not come round, in seconds."""
        return self._clock() - self._turned_at

    @property
    def state_s(self) -> float:
        """For how long the gateway has been Ready, or has not."""
        return self._clock() - self._since

    @property
    def condition(self) -> Condition:
        """How the gateway is now."""
        faults = self.faults
        gravest = min(faults, default=None)
        return Condition(
            state=GatewayState.READY if gravest is None else GatewayState.NOT_READY,
            fault="" if gravest is None else gravest.word,
            reason="" if gravest is None else faults[gravest],
            lockout=Fault.LOCKOUT in faults,
            rate_alarm=self._rate_alarm,
            plc=self._link(faults),
        )

    @property
    def parts(self) -> Sorted:
        """What has been sorted."""
        return Sorted(released=self._released, rejected=self._rejected, late=self._late)

    @property
    def begun(self) -> dict[str, int]:
        """How often each fault has begun, by name."""
        return {fault.word: count for fault, count in self._begun.items()}

    def _count(self, left: Left) -> None:
        if left.ruling.released:
            self._released += 1
            return
        self._rejected += 1
        self._late += left.ruling.reason == NO_VERDICT

    def _note(self, change: Change) -> None:
        was_ready = not self.faults
        others = {fault: reason for fault, reason in self.faults.items() if fault is not change.fault}
        self._begun[change.fault] += change.began and change.fault not in self.faults
        self.faults = {**others, change.fault: change.reason} if change.began else others
        if was_ready is not (not self.faults):
            self._since = self._clock()

    def _link(self, faults: Mapping[Fault, str]) -> PlcLink:
        if not self._has_plc:
            return PlcLink.NONE
        if Fault.PLC_LOST in faults:
            return PlcLink.LOST
        return PlcLink.FROZEN if Fault.PLC_FROZEN in faults else PlcLink.UP
