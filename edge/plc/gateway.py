"""The gateway: one thread that hears the vision process, asks the PLC, and carries out what the controller decides.

One thread on purpose: between a verdict and the coil there is no hand-over to another thread, and what blocks, such as
a frozen PLC, blocks nothing that could still be released.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from edge.client import GapError, SilenceError, Subscriber
from edge.plc.caller import Caller
from edge.plc.controller import Controller
from edge.plc.modbus import Modbus
from edge.plc.output import Output, OutputError
from edge.plc.signals import Action, Ask
from edge.requests import Refused
from edge.verdict import MessageError

_log = logging.getLogger(__name__)
# Waiting for messages wakes up to a millisecond late; the rest of the way to a planned moment is slept in small steps.
_COARSE_S = 0.0025
_FINE_S = 0.0002
# After so many messages the PLC and the clock have their turn, however many wait.
_MESSAGES_A_TURN = 16
_NO_CONTROL = "the PLC wants another recipe, and vision takes no requests: name an address in [control] bind"


class Gateway:
    """Runs a controller between a subscriber, a PLC if there is one, and outputs that only listen."""

    def __init__(
        self,
        controller: Controller,
        subscriber: Subscriber,
        plc: Modbus | None,
        listeners: Sequence[Output],
        poll_s: float,
        caller: Caller | None = None,
    ) -> None:
        self._controller = controller
        self._subscriber = subscriber
        self._plc = plc
        self._caller = caller
        self._outputs = [output for output in (plc, caller, *listeners) if output is not None]
        self._poll_s = poll_s
        self._poll_at = time.monotonic()

    def run(self, ready: Callable[[], None], stopping: Callable[[], bool], alive: Callable[[], None]) -> None:
        """Work until `stopping` says so. `ready` is called when every output is open, `alive` in every turn.

        Raises what opening an output raises, and nothing else.
        """
        with ExitStack() as stack:
            for output in self._outputs:
                stack.enter_context(output)
            if self._plc is not None:
                self._controller.lose("the PLC has not been asked yet")
            ready()
            while not stopping():
                self.turn()
                alive()

    def turn(self) -> None:
        """Ask the PLC where it is time, hear what has come, act, and wait no longer than to the next moment."""
        now = time.monotonic()
        if now >= self._poll_at:
            self._ask(now)
            self._poll_at = time.monotonic() + self._poll_s
        for reply in self._caller.replies() if self._caller else ():
            self._controller.answer(reply, time.monotonic())
        self._act()
        for _ in range(_MESSAGES_A_TURN):
            if not self._hear(self._patience()):
                break
            self._act()

    def _patience(self) -> float:
        now = time.monotonic()
        moment = self._controller.next_moment(now)
        if moment - now > _COARSE_S:
            return max(min(self._poll_at, moment - _COARSE_S) - now, 0.0)
        time.sleep(min(max(moment - now, 0.0), _FINE_S))
        return 0.0

    def _ask(self, now: float) -> None:
        if self._plc is None:
            return
        try:
            inputs = self._plc.exchange(now)
        except OutputError as error:
            self._controller.lose(str(error))
            return
        if inputs is not None:
            self._controller.sense(inputs, time.monotonic())

    def _hear(self, timeout_s: float) -> bool:
        try:
            message = self._subscriber.receive(timeout_s)
        except (GapError, SilenceError, MessageError) as error:
            self._controller.miss(error, time.monotonic())
            return True
        if message is None:
            return False
        self._controller.hear(message, time.monotonic())
        return True

    def _act(self) -> None:
        self._controller.tick(time.monotonic())
        for action in self._controller.take_actions():
            if isinstance(action, Ask) and self._caller is None:
                refusal = Refused(request_id=action.request.request_id, reason=_NO_CONTROL)
                self._controller.answer(refusal, time.monotonic())
            for output in self._outputs:
                self._carry_out(output, action)

    def _carry_out(self, output: Output, action: Action) -> None:
        try:
            output.carry_out(action)
        except OutputError as error:
            if output is self._plc:
                self._controller.lose(str(error))
            else:
                _log.error("%s", error)
