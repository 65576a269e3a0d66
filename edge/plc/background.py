"""An output in a thread of its own, so that a slow network or client never holds up the ejector."""

from __future__ import annotations

import logging
import threading

from edge.plc.output import Output, OutputError
from edge.plc.signals import Action
from edge.queues import BoundedQueue, Policy, QueueClosedError
from edge.worker import Job, Worker

_log = logging.getLogger(__name__)
_CAPACITY = 4096
_PATIENCE_S = 0.1
_STOP_S = 5.0


class Background(Output):
    """Hands actions to an output that only informs. Where it cannot keep up, the oldest give way and are counted."""

    def __init__(self, name: str, output: Output) -> None:
        self.dropped = 0
        self._name = name
        self._actions: BoundedQueue[Action] = BoundedQueue(_CAPACITY, Policy.LATEST, self._count)
        self._worker = Worker(name, _Carrier(output, self._actions))

    def open(self) -> None:
        """Open the output in its thread; raises what it raises."""
        self._worker.start()

    def carry_out(self, action: Action) -> None:
        """Leave the action to the thread."""
        self._actions.put(action)

    def close(self) -> None:
        """Let it carry out what waits, for some seconds at most, and close it."""
        self._actions.close()
        if self._worker.alive:
            self._worker.join(_STOP_S)
        if self.dropped:
            _log.warning("%s could not keep up: %d messages were left out", self._name, self.dropped)

    def _count(self, action: Action) -> None:
        self.dropped += 1


class _Carrier(Job):
    def __init__(self, output: Output, actions: BoundedQueue[Action]) -> None:
        self._output = output
        self._actions = actions

    def setup(self) -> None:
        """Open the output."""
        self._output.open()

    def step(self, stopping: threading.Event) -> bool:
        """Carry out what waits. False after the last."""
        try:
            action = self._actions.get(_PATIENCE_S)
        except QueueClosedError:
            return False
        if action is not None:
            try:
                self._output.carry_out(action)
            except OutputError as error:
                _log.warning("%s", error)
        return True

    def teardown(self) -> None:
        """Close the output."""
        self._output.close()
