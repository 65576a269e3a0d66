"""Listens to one station, and notes when it said what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.client import GapError, SilenceError, Subscriber
from edge.verdict import Evaluation, Heartbeat, Verdict
from edge.worker import Job

_PATIENCE_S = 0.1
_LOOK_S = 0.005


@dataclass(frozen=True)
class Said:
    """One message, and the monotonic clock in seconds when it came."""

    at: float
    message: Verdict | Heartbeat


class StationWatch(Job):
    """Collects every message, and counts the verdicts that never came."""

    def __init__(self, endpoint: str) -> None:
        self.lost = 0
        self._said: list[Said] = []
        self._subscriber = Subscriber(endpoint)

    def setup(self) -> None:
        """Subscribe."""
        self._subscriber.__enter__()

    def step(self, stopping: threading.Event) -> bool:
        """Receive one message."""
        try:
            message = self._subscriber.receive(_PATIENCE_S)
        except GapError as error:
            self.lost += error.gap.last - error.gap.first + 1
        except SilenceError:
            return True
        else:
            if message is not None:
                self._said.append(Said(time.monotonic(), message))
        return True

    def teardown(self) -> None:
        """Leave."""
        self._subscriber.close()

    def await_first(self, since: float, wanted: Callable[[Said], object], limit_s: float) -> Said | None:
        """The first wanted message after `since` (monotonic, in seconds); None where `limit_s` pass without one."""
        deadline, index = time.monotonic() + limit_s, 0
        while True:
            over = time.monotonic() > deadline
            for said in self._said[index:]:
                index += 1
                if said.at >= since and wanted(said):
                    return said
            if over:
                return None
            time.sleep(_LOOK_S)

    def verdicts(self, since: float = 0.0) -> list[Verdict]:
        """Verdicts after `since`, in the order they came."""
        return [said.message for said in self._said if said.at >= since and isinstance(said.message, Verdict)]


def decided(said: Said) -> bool:
    """Whether it is the verdict of a part that could be judged."""
    return isinstance(said.message, Verdict) and said.message.evaluation is not Evaluation.NOT_DECIDABLE
