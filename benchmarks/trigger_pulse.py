"""Triggers a camera through the control socket at a steady pace, as a PLC would."""

from __future__ import annotations

import threading

from edge.asker import Asker
from edge.requests import TriggerRequest
from edge.worker import Job
from engines.errors import InspectError

_PITCH_S = 0.2
_ANSWER_S = 1.0


class TriggerPulse(Job):
    """One request each 0.2 s; those that are refused are no parts."""

    def __init__(self, endpoint: str, camera: str) -> None:
        self._asker = Asker(endpoint)
        self._camera = camera

    def setup(self) -> None:
        """Connect."""
        self._asker.__enter__()

    def step(self, stopping: threading.Event) -> bool:
        """Ask for one picture."""
        try:
            self._asker.ask(TriggerRequest(camera=self._camera), _ANSWER_S)
        except InspectError:  # no daemon is listening yet, or none any more
            return True
        stopping.wait(_PITCH_S)
        return True

    def teardown(self) -> None:
        """Disconnect."""
        self._asker.close()
