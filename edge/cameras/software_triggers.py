"""Software triggers of a camera that takes one picture at a time."""

from __future__ import annotations

from collections import deque

from edge.cameras.camera import Frame, Shutter


class SoftwareTriggers:
    """Which trigger the next frame belongs to.

    Cameras ignore a trigger while they expose, and do not tell: the next frame would go to the wrong part, and so would
    all after it. So a trigger before the last one's frame is there is not sent, and comes out as an overrun.
    """

    def __init__(self) -> None:
        self._owed: deque[tuple[int, str]] = deque()

    def clear(self) -> None:
        """The camera was opened anew: nothing is owed."""
        self._owed.clear()

    def accept(self, trigger_id: int) -> bool:
        """Owe a frame. Returns whether to send this trigger to the camera."""
        fault = f"overrun: the frame of trigger {self._owed[0][0]} was not there yet" if self._owed else ""
        self._owed.append((trigger_id, fault))
        return not fault

    def overrun(self, shutter: Shutter) -> Frame | None:
        """The next overrun whose turn it is, as a frame with a fault."""
        if not self._owed or not self._owed[0][1]:
            return None
        trigger_id, fault = self._owed.popleft()
        shutter.press()
        return shutter.frame(None, fault=fault, trigger_id=trigger_id)

    def settle(self) -> int | None:
        """A frame has come: the trigger that it belongs to, or None where nobody asked for one."""
        return self._owed.popleft()[0] if self._owed else None
