"""What the gateway does, without how: verdicts and the PLC's words go in, actions come out. No socket, thread or clock.

Each method takes the moment it is called at (monotonic, in seconds) and appends to the actions that are waiting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping

from edge.client import SilenceError
from edge.plc.alarms import Lockout, RateAlarm
from edge.plc.belt import Belt, EncoderBelt, TimedBelt
from edge.plc.conveyor import Conveyor, Departure, Opinion, Ruling
from edge.plc.early import EarlyOpinions
from edge.plc.ejector import Ejector
from edge.plc.failsafe import FailSafe, Fault
from edge.plc.jobs import JobKeeper
from edge.plc.signals import Action, Ask, Inputs, Left, Status, Switch
from edge.plc.tables import PlcTable
from edge.plc.triggers import PendingTriggers
from edge.requests import Refused, Reply
from edge.verdict import Evaluation, Heartbeat, State, Verdict
from engines.errors import InspectError

NUMBERS = 1 << 16
# So many parts at most can have passed between two looks at the PLC; beyond that its counter has begun anew.
_MOST_MISSED = 64
_LAST_DIGITS = re.compile(r"(?<![0-9])([0-9]{1,18})[^0-9]*$")


class Controller:
    """One station's parts, faults and alarms. It starts not Ready, and releases only what every camera vouched for."""

    def __init__(self, table: PlcTable, cameras: Collection[str], jobs: Mapping[int, str] | None = None) -> None:
        self._table = table
        self._cameras = cameras
        self._jobs = JobKeeper(jobs or {}, cameras)
        self._triggers = PendingTriggers(table.trigger_limit_s)
        self._belt: Belt = EncoderBelt(table.encoder_bits) if table.track == "encoder" else TimedBelt()
        self._conveyor = Conveyor(cameras, table.travel, table.margin)
        self._early = EarlyOpinions(table.early_s)
        self._ejector = Ejector(table.fire, table.pulse_s)
        self._failsafe = FailSafe(table.hold_s)
        self._lockout = Lockout(table.lockout_after)
        self._rate = RateAlarm(table.rate_limit, table.rate_window)
        self._failsafe.hold(Fault.STARTING, "nothing heard from vision yet")
        self._inputs: Inputs | None = None
        self._moved_at = -math.inf
        self._level = False
        self._fired_for: Departure | None = None
        self._status: Status | None = None
        self._actions: list[Action] = []

    def hear(self, message: Verdict | Heartbeat, now: float) -> None:
        """Take a message of the vision process into account."""
        # First what was due before it: a late word must not count because nobody had looked at the clock.
        self._rule_on_overdue(now)
        if isinstance(message, Verdict):
            self._weigh(message, now)
        else:
            self._note_state(message)

    def miss(self, error: InspectError, now: float) -> None:
        """The subscriber could not give what it should have: a gap, silence, or bytes that are no message."""
        if isinstance(error, SilenceError):
            self._failsafe.hold(Fault.SILENCE, str(error))
        else:
            self._failsafe.happened(Fault.GAP, now, str(error))

    def sense(self, inputs: Inputs, now: float) -> None:
        """Take what the PLC says into account."""
        before, self._inputs = self._inputs, inputs
        self._failsafe.clear(Fault.PLC_LOST)
        self._jobs.want(inputs.job)
        if before is None or inputs.heartbeat != before.heartbeat:
            self._moved_at = now
            self._failsafe.clear(Fault.PLC_FROZEN)
        position = self._position_of_trigger(inputs, now)
        if before is not None:
            self._note_parts(before.trigger, inputs.trigger, position, now)
            if inputs.reset and not before.reset:
                self.reset("the PLC's reset bit")

    def lose(self, reason: str) -> None:
        """The PLC cannot be reached: where its parts are is not known any more, and none of them is released."""
        self._failsafe.hold(Fault.PLC_LOST, reason)
        self._abandon("the PLC was lost")
        self._inputs = None

    def reset(self, by: str) -> None:
        """The operator has looked, and lets the line go on after a lockout; `by` is the way they said so."""
        self._lockout.reset()
        self._failsafe.clear(Fault.LOCKOUT, by)

    def answer(self, reply: Reply, now: float) -> None:
        """Take what vision answers to a request into account."""
        settled = self._triggers.settle(reply)
        if settled is not None:
            self._miss_picture(settled[0], now, settled[1])
        elif isinstance(reply, Refused) and reply.request_id == "recipe":
            self._jobs.refuse(reply.reason)

    def tick(self, now: float) -> None:
        """Do what the moment asks for. Call it at `next_moment`, and after everything that was heard or sensed."""
        self._failsafe.expire(now)
        self._check_plc(now)
        self._check_job(now)
        for number in self._triggers.overdue(now):
            self._miss_picture(number, now, "nobody has confirmed its trigger")
        for opinion in self._early.expire(now):
            self._failsafe.happened(Fault.LATE, now, f"a verdict on part {opinion.number}, which is not on the belt")
        self._rule_on_overdue(now)
        for departure in self._conveyor.leaving(self._belt.position(now)):
            self._let_go(departure, now)
        self._switch(now)

    def take_actions(self) -> list[Action]:
        """What is to be done, in order; what has changed of faults and status comes last."""
        self._actions += self._failsafe.take_changes()
        status = self.status
        if status != self._status:
            self._status = status
            self._actions.append(status)
        actions, self._actions = self._actions, []
        return actions

    def next_moment(self, now: float) -> float:
        """When `tick` has to be called at the latest; infinity where only news can bring something."""
        waiting = self._conveyor.next_position
        part = math.inf if waiting is None else self._belt.moment(waiting, now)
        return min(part, self._ejector.next_change(now), self._failsafe.next_expiry)

    @property
    def status(self) -> Status:
        """What the gateway shows now."""
        return Status(
            ready=self._failsafe.ready,
            busy=len(self._conveyor) > 0,
            stop=self._table.on_fault == "stop" and not self._failsafe.ready,
            lockout=self._lockout.locked,
            rate_alarm=self._rate.rings,
            error=self._failsafe.code,
            job=self._jobs.active,
            trigger=self._inputs.trigger if self._inputs else 0,
        )

    def _weigh(self, verdict: Verdict, now: float) -> None:
        evaluation, reason = verdict.evaluation, verdict.reason
        if not self._jobs.fits(verdict):
            evaluation, reason = Evaluation.NOT_DECIDABLE, f"judged by another recipe, {verdict.recipe}"
        opinion = Opinion(self._number_of(verdict), verdict.camera, evaluation, reason)
        if opinion.evaluation is Evaluation.NOT_DECIDABLE:
            self._failsafe.happened(Fault.NOT_DECIDABLE, now, f"part {opinion.number}: {opinion.reason}")
        if self._table.parts == "verdict" and opinion.number not in self._conveyor:
            self._enter(opinion.number, min(verdict.captured_ns / 1e9, now))
        if opinion.number in self._conveyor:
            self._follow(self._conveyor.judge(opinion))
        else:
            for lost in self._early.keep(opinion, now):
                self._failsafe.happened(Fault.OVERLOAD, now, f"part {lost.number}: too many verdicts wait for parts")

    def _note_state(self, beat: Heartbeat) -> None:
        self._failsafe.clear(Fault.STARTING)
        self._failsafe.clear(Fault.SILENCE)
        self._jobs.hear(beat)
        if beat.state is State.RUNNING:
            self._failsafe.clear(Fault.NOT_RUNNING)
        else:
            self._failsafe.hold(Fault.NOT_RUNNING, f"vision is {beat.state.value}: {beat.reason}".rstrip(": "))

    def _position_of_trigger(self, inputs: Inputs, now: float) -> float:
        if isinstance(self._belt, EncoderBelt):
            self._belt.note(inputs.encoder, now)
            return self._belt.unwrapped(inputs.trigger_encoder)
        return now

    def _note_parts(self, before: int, latest: int, position: float, now: float) -> None:
        if self._table.parts != "trigger":
            return
        count = (latest - before) % NUMBERS
        if count > _MOST_MISSED:
            self._failsafe.happened(Fault.POSITION_LOST, now, f"the PLC's part number went from {before} to {latest}")
            self._abandon("the PLC counts anew")
            return
        for number in range(before + 1, before + count):
            # Where it is now is not known, only that it is one of ours: its number is told to be rejected.
            missed = Ruling(number % NUMBERS, Evaluation.NOT_DECIDABLE, "it passed the sensor unseen")
            self._failsafe.happened(Fault.MISSED_TRIGGER, now, f"part {missed.number}: {missed.reason}")
            self._actions.append(missed)
        if count:
            self._enter(latest, position)
            self._trigger(latest, now)
            for opinion in self._early.take(latest, now):
                self._follow(self._conveyor.judge(opinion))

    def _enter(self, number: int, position: float) -> None:
        self._follow(self._conveyor.enter(number, position))
        if self._lockout.locked:
            self._follow(self._conveyor.condemn(number, "lockout"))

    def _rule_on_overdue(self, now: float) -> None:
        for ruling in self._conveyor.overdue(self._belt.position(now)):
            self._failsafe.happened(Fault.LATE, now, f"part {ruling.number}: {ruling.reason}")
            self._actions.append(ruling)

    def _trigger(self, number: int, now: float) -> None:
        if not self._table.trigger_cameras or self._inputs is None:
            return
        for camera in self._cameras:
            request = self._triggers.ask(number, camera, self._inputs.trigger_encoder, now)
            self._actions.append(Ask(request))

    def _miss_picture(self, number: int, now: float, reason: str) -> None:
        self._failsafe.happened(Fault.NO_PICTURE, now, f"part {number}: {reason}")
        # For good: a picture that is taken later shows another part.
        self._follow(self._conveyor.condemn(number, reason))

    def _check_job(self, now: float) -> None:
        problem = self._jobs.problem
        if problem:
            self._failsafe.hold(Fault.RECIPE, problem)
        else:
            self._failsafe.clear(Fault.RECIPE)
        request = self._jobs.request(now)
        if request is not None:
            self._actions.append(Ask(request))

    def _follow(self, ruling: Ruling | None) -> None:
        if ruling is not None:
            self._actions.append(ruling)

    def _abandon(self, reason: str) -> None:
        self._actions += self._conveyor.condemn_all(reason)
        self._conveyor.clear()

    def _check_plc(self, now: float) -> None:
        if self._inputs is not None and now - self._moved_at > self._table.silence_s:
            self._failsafe.hold(Fault.PLC_FROZEN, "its heartbeat stands still")

    def _let_go(self, departure: Departure, now: float) -> None:
        ruling = departure.ruling
        if now - self._belt.moment(departure.position, now) > self._table.pulse_s:
            # After a pause of this process: a pulse now would hit another part.
            self._failsafe.happened(Fault.LATE, now, f"part {ruling.number} passed the ejector unattended")
        else:
            self._ejector.meet(ruling, now)
            self._fired_for = departure
        self._actions.append(Left(ruling))
        self._rate.note(ruling.evaluation)
        self._lockout.note(ruling.evaluation)
        if self._lockout.locked and Fault.LOCKOUT not in self._failsafe:
            self._failsafe.hold(Fault.LOCKOUT, f"{self._table.lockout_after} defective parts in a row")
            self._actions += self._conveyor.condemn_all("lockout")

    def _switch(self, now: float) -> None:
        level = self._ejector.level(now)
        if level == self._level:
            return
        self._level = level
        overrun = self._ejector.overrun(now)
        if not level and overrun > self._table.pulse_s / 2:
            self._failsafe.happened(Fault.PULSE, now, f"the output was on {1000 * overrun:.0f} ms too long")
        for_part = self._fired_for if level else None
        if for_part is None:
            self._actions.append(Switch(level))
        else:
            planned = self._belt.moment(for_part.position, now)
            self._actions.append(Switch(level, for_part.ruling.number, planned))

    def _number_of(self, verdict: Verdict) -> int:
        if self._table.parts == "verdict":
            return verdict.seq % NUMBERS
        found = _LAST_DIGITS.search(verdict.part_id or "")
        return int(found.group(1)) % NUMBERS if found else -1
