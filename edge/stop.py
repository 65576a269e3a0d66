"""The wish of whoever started a process that it should end in order."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopRequest:
    """SIGTERM or SIGINT while it is entered sets `made`; a second signal ends the process at once."""

    def __init__(self) -> None:
        # A plain flag: taking a lock inside a signal handler can deadlock with the code that was interrupted.
        self.made = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)
