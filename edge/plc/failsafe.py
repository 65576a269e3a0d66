"""Why the gateway is not Ready: the faults that hold, and those that have just happened."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Fault(IntEnum):
    """What keeps Ready cleared. The number is the PLC's error code; a smaller one is shown before a larger one."""

    STARTING = 1
    PLC_LOST = 2
    PLC_FROZEN = 3
    SILENCE = 4
    NOT_RUNNING = 5
    LOCKOUT = 6
    POSITION_LOST = 7
    GAP = 8
    LATE = 9
    NOT_DECIDABLE = 10
    MISSED_TRIGGER = 11
    OVERLOAD = 12
    RECIPE = 13
    NO_PICTURE = 14
    PULSE = 15

    @property
    def word(self) -> str:
        """The name in a log."""
        return self.name.lower()


@dataclass(frozen=True)
class Change:
    """A fault that began or ended, or one that holds and has another reason now: it began once more."""

    fault: Fault
    began: bool
    reason: str = ""


class FailSafe:
    """The faults of the moment. A fault that holds stays until it is cleared; one that happened stays for `hold_s`.

    Every change is kept in `changes` until it is taken, so that none goes unlogged. Times are monotonic, in seconds.
    """

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        self._until: dict[Fault, float] = {}
        self._reasons: dict[Fault, str] = {}
        self._changes: list[Change] = []

    @property
    def ready(self) -> bool:
        """Whether nothing speaks against it."""
        return not self._until

    @property
    def code(self) -> int:
        """The number of the gravest fault, 0 for none."""
        return min(self._until, default=0)

    def __contains__(self, fault: Fault) -> bool:
        return fault in self._until

    def hold(self, fault: Fault, reason: str = "") -> None:
        """The fault is there until `clear`."""
        self._set(fault, float("inf"), reason)

    def happened(self, fault: Fault, now: float, reason: str = "") -> None:
        """The fault was there at a moment."""
        self._set(fault, now + self._hold_s, reason)

    def clear(self, fault: Fault, reason: str = "") -> None:
        """The fault has gone."""
        if self._until.pop(fault, None) is not None:
            self._changes.append(Change(fault, began=False, reason=reason))

    def expire(self, now: float) -> None:
        """Let go of what happened long enough ago."""
        for fault in [fault for fault, until in self._until.items() if until <= now]:
            self.clear(fault)

    def take_changes(self) -> list[Change]:
        """What has changed since the last call, in order."""
        changes, self._changes = self._changes, []
        return changes

    @property
    def next_expiry(self) -> float:
        """When a fault goes by itself; infinity where none does."""
        return min(self._until.values(), default=float("inf"))

    def _set(self, fault: Fault, until: float, reason: str) -> None:
        other = until == float("inf") and reason != self._reasons.get(fault)
        if fault not in self._until or other:
            self._reasons[fault] = reason
            self._changes.append(Change(fault, began=True, reason=reason))
        self._until[fault] = max(until, self._until.get(fault, until))
