"""Parts on their way from the part sensor to the ejector, and what is to become of each.

A position is how far the belt has moved when a part passes the sensor: encoder counts, or seconds on a belt of constant
speed. Parts keep their own position, so that uneven spacing, a stop or a part taken off by hand never shifts one part's
verdict onto another, as a shift register would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from edge.verdict import Evaluation

NO_VERDICT = "no verdict in time"
REPEATED = "its number was on the belt already"


@dataclass(frozen=True)
class Opinion:
    """What one camera says of one part."""

    number: int
    camera: str
    evaluation: Evaluation
    reason: str = ""


@dataclass(frozen=True)
class Ruling:
    """What becomes of a part at the ejector. Only `OK` lets it pass."""

    number: int
    evaluation: Evaluation
    reason: str = ""

    @property
    def released(self) -> bool:
        """Whether the part may go on."""
        return self.evaluation is Evaluation.OK


@dataclass(frozen=True)
class Departure:
    """A part at the ejector, and the position at which it was to be there."""

    ruling: Ruling
    position: float


@dataclass
class _Part:
    number: int
    position: float
    awaited: set[str]
    ruling: Ruling | None = None


class Conveyor:
    """Parts between sensor and ejector, oldest first.

    A part is released when each of `cameras` has said OK for its number before it came within `margin` of the ejector,
    which lies `travel` behind the sensor. Any other word, and none, is a reject. A ruling becomes only ever stricter.
    """

    def __init__(self, cameras: Collection[str], travel: float, margin: float) -> None:
        if not cameras:
            raise ValueError("expected at least one camera: a part that nobody looks at can never be released")
        self._cameras = frozenset(cameras)
        self._travel = travel
        self._margin = margin
        self._parts: deque[_Part] = deque()
        self._by_number: dict[int, _Part] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, number: int) -> bool:
        return number in self._by_number

    def enter(self, number: int, position: float) -> Ruling | None:
        """Note that a part passes the sensor. A number that is on the belt already condemns both parts."""
        part = _Part(number, position, set(self._cameras))
        twin = self._by_number.get(number)
        self._insert(part)
        self._by_number[number] = part
        if twin is None:
            return None
        self._rule(twin, Evaluation.NOT_DECIDABLE, REPEATED)
        return self._rule(part, Evaluation.NOT_DECIDABLE, REPEATED)

    def judge(self, opinion: Opinion) -> Ruling | None:
        """Take one camera's word into account; return the ruling where it is new or has become stricter."""
        part = self._by_number.get(opinion.number)
        if part is None or opinion.camera not in self._cameras:
            return None
        if opinion.evaluation is not Evaluation.OK:
            return self._condemn(part, opinion.evaluation, opinion.reason)
        part.awaited.discard(opinion.camera)
        if part.awaited or part.ruling is not None:
            return None
        return self._rule(part, Evaluation.OK, "")

    def condemn(self, number: int, reason: str) -> Ruling | None:
        """Reject a part whatever the cameras say of it."""
        part = self._by_number.get(number)
        return self._condemn(part, Evaluation.NOT_DECIDABLE, reason) if part is not None else None

    def overdue(self, position: float) -> list[Ruling]:
        """Rule on the parts that have come within `margin` of the ejector without a word from every camera."""
        return [
            self._rule(part, Evaluation.NOT_DECIDABLE, NO_VERDICT)
            for part in self._parts
            if part.ruling is None and position >= self._decided_at(part)
        ]

    def leaving(self, position: float) -> list[Departure]:
        """Take the parts that are at the ejector off the belt: each part once, in the order of their positions."""
        gone = []
        while self._parts and position >= self._parts[0].position + self._travel:
            part = self._parts.popleft()
            if self._by_number.get(part.number) is part:
                del self._by_number[part.number]
            ruling = part.ruling or self._rule(part, Evaluation.NOT_DECIDABLE, NO_VERDICT)
            gone.append(Departure(ruling, part.position + self._travel))
        return gone

    def condemn_all(self, reason: str) -> list[Ruling]:
        """Reject every part on the belt; return the rulings that this has changed."""
        rulings = (self._condemn(part, Evaluation.NOT_DECIDABLE, reason) for part in self._parts)
        return [ruling for ruling in rulings if ruling is not None]

    def clear(self) -> None:
        """Forget every part, where it cannot be known any more where they are. Condemn them first."""
        self._parts.clear()
        self._by_number.clear()

    @property
    def next_position(self) -> float | None:
        """The position at which `overdue` or `leaving` has something new, or None while the belt is empty."""
        waits = [self._decided_at(part) for part in self._parts if part.ruling is None]
        return min([*waits, self._parts[0].position + self._travel]) if self._parts else None

    def _insert(self, part: _Part) -> None:
        # Cameras tell of their parts side by side, so that one may be told of after its successor.
        place = len(self._parts)
        while place and self._parts[place - 1].position > part.position:
            place -= 1
        self._parts.insert(place, part)

    def _decided_at(self, part: _Part) -> float:
        return part.position + self._travel - self._margin

    def _condemn(self, part: _Part, evaluation: Evaluation, reason: str) -> Ruling | None:
        known = part.ruling
        if known is not None and not known.released:
            return None
        return self._rule(part, evaluation, reason)

    def _rule(self, part: _Part, evaluation: Evaluation, reason: str) -> Ruling:
        part.ruling = Ruling(part.number, evaluation, reason)
        return part.ruling
