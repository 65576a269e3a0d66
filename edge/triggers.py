"""Who owes whom a frame: pairs triggers with frames, so that every trigger becomes exactly one part, in order.

Pure bookkeeping without threads or a clock: times are monotonic nanoseconds that the caller gives. What goes out are
frames in the order of their triggers; one that never came is a frame without an image whose `fault` says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.cameras.camera import Frame

LATE, REPEATED, UNASKED = "late frame", "repeated frame", "frame without a trigger"
# Numbers of frames that are remembered to tell one that comes twice or too late from a camera that counts anew.
_REMEMBERED = 256
# A leap beyond is no loss but a camera that counts anew, or nonsense, which must not fill the memory.
MOST_MISSING = 10_000

OnDrop = Callable[[str], None]


@dataclass(frozen=True)
class Trigger:
    """One part that stands before the camera. `at_ns` is the monotonic clock, `at` the wall clock of that moment."""

    trigger_id: int
    at_ns: int
    at: float
    part_id: str | None = None
    encoder: int | None = None

    def without_frame(self, fault: str) -> Frame:
        """The part whose picture cannot be had."""
        return Frame(
            frame_id=0,
            image=None,
            captured_ns=self.at_ns,
            captured_at=self.at,
            capture_ms=0.0,
            part_id=self.part_id,
            trigger_id=self.trigger_id,
            fault=fault,
            encoder=self.encoder,
            triggered_ns=self.at_ns,
        )


@dataclass(frozen=True)
class _Waiting:
    """A trigger and, where its picture cannot be had any more, why."""

    trigger: Trigger
    fault: str


class Asked:
    """Triggers that we send, and the frames that carry their ids: each trigger gets its frame or the reason why not.

    A camera gives frames in the order of its triggers. So one for a later trigger proves that those before are missing.
    `on_drop` is told the cause of every frame that belongs to no trigger which still waits.
    """

    def __init__(self, deadline_ns: int, on_drop: OnDrop) -> None:
        self._deadline_ns = deadline_ns
        self._on_drop = on_drop
        self._waiting: deque[_Waiting] = deque()
        self._last_id = 0

    @property
    def owed(self) -> int:
        """Frames that the camera owes."""
        return sum(not each.fault for each in self._waiting)

    def expect(self, trigger: Trigger, fault: str = "") -> list[Frame]:
        """Wait for the frame of a trigger, or with a `fault` for its turn. Returns what is settled by it, in order.

        Raises ValueError unless its id is above all before.
        """
        if trigger.trigger_id <= self._last_id:
            raise ValueError(f"expected a trigger after {self._last_id}, found {trigger.trigger_id}")
        self._last_id = trigger.trigger_id
        self._waiting.append(_Waiting(trigger, fault))
        return self._settled()

    def take(self, frame: Frame) -> list[Frame]:
        """Give a frame to its trigger. Returns what is settled by it, in order; nothing where it belongs to none."""
        number = frame.trigger_id
        if number is None or number > self._last_id:
            self._on_drop(UNASKED)
            return []
        if not any(each.trigger.trigger_id == number and not each.fault for each in self._waiting):
            self._on_drop(LATE)
            return []
        missing = f"missing: the frame of trigger {number} came first"
        before = self._settled(lambda each: missing if each.trigger.trigger_id < number else "")
        trigger = self._waiting.popleft().trigger
        return [*before, _joined(trigger, frame), *self._settled()]

    def overdue(self, now_ns: int) -> list[Frame]:
        """Settle the triggers whose frame has not come in time."""
        missing = f"missing: no frame within {self._deadline_ns / 1e9:g} s of the trigger"
        return self._settled(lambda each: missing if now_ns - each.trigger.at_ns > self._deadline_ns else "")

    def give_up(self, fault: str) -> list[Frame]:
        """Settle all triggers that wait, because their frames can no longer come."""
        return self._settled(lambda _: fault)

    def _settled(self, fault: Callable[[_Waiting], str] = lambda _: "") -> list[Frame]:
        """Take from the front what has a fault of its own or now gets one."""
        settled = []
        while self._waiting:
            why = self._waiting[0].fault or fault(self._waiting[0])
            if not why:
                break
            settled.append(self._waiting.popleft().trigger.without_frame(why))
        return settled


def _joined(trigger: Trigger, frame: Frame) -> Frame:
    part_id = frame.part_id if trigger.part_id is None else trigger.part_id
    encoder = frame.encoder if trigger.encoder is None else trigger.encoder
    return replace(frame, part_id=part_id, encoder=encoder, triggered_ns=trigger.at_ns)


class Counted:
    """Frames of a camera that an electric signal triggers: its own frame numbers tell which parts have no frame.

    `trigger_id` of what comes in is the camera's number, which never begins again (see FrameNumbers). What goes out is
    numbered from 1 without a gap. What was lost before the first frame, or after the last one, nobody can know; nor
    more than 10,000 in a row.
    """

    def __init__(self, on_drop: OnDrop) -> None:
        self._on_drop = on_drop
        self._number: int | None = None
        self._count = 0
        self._known: deque[int] = deque(maxlen=_REMEMBERED)
        self._missing: deque[int] = deque(maxlen=_REMEMBERED)

    def take(self, frame: Frame) -> list[Frame]:
        """Number a frame, and put what is missing before it in front. Nothing comes of one that was settled before."""
        number = frame.trigger_id
        if number is None:
            self._on_drop(UNASKED)
            return []
        gap = 1 if self._number is None else number - self._number
        if gap <= 0 and (number in self._known or number in self._missing):
            self._on_drop(LATE if number in self._missing else REPEATED)
            return []
        if not 0 < gap <= MOST_MISSING:
            self.resume()
            gap = 1
        lost = [self._lost(frame) for _ in range(gap - 1)]
        self._remember(number, gap)
        return [*lost, self._numbered(frame)]

    def resume(self) -> None:
        """The camera was opened again: it may count anew, and what it lost meanwhile cannot be known."""
        self._number = None
        self._known.clear()
        self._missing.clear()

    def _remember(self, number: int, gap: int) -> None:
        for back in range(min(gap - 1, _REMEMBERED), 0, -1):
            self._missing.append(number - back)
        self._known.append(number)
        self._number = number

    def _lost(self, frame: Frame) -> Frame:
        missing = f"missing: the camera's number before frame {frame.trigger_id} never came"
        return self._numbered(replace(frame, frame_id=0, image=None, capture_ms=0.0, part_id=None, fault=missing))

    def _numbered(self, frame: Frame) -> Frame:
        self._count += 1
        return replace(frame, trigger_id=self._count, triggered_ns=frame.triggered_ns or frame.captured_ns)
