from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.client import GapError, SilenceError
from edge.plc.controller import Controller
from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Change, Fault
from edge.plc.signals import Action, Ask, Inputs, Left, Status, Switch
from edge.plc.tables import PlcTable
from edge.requests import Refused, Triggered
from edge.sequence import Gap
from edge.verdict import Evaluation, MessageError, State
from engines.errors import InspectError
from tests.edge.messages import beat, verdict

OK, NOT_OK, NOT_DECIDABLE = Evaluation
TRAVEL, MARGIN = 1.0, 0.1


class Line:
    """A controller and the actions it has asked for, with a PLC whose program runs."""

    def __init__(self, **settings: Any) -> None:
        self.controller = Controller(PlcTable(**{"travel": TRAVEL, "margin": MARGIN, **settings}), ["top"])
        self.inputs = Inputs()
        self.actions: list[Action] = []
        self.controller.lose("not asked yet")

    def ready(self) -> Line:
        self.controller.hear(beat(0), 0.0)
        self.sense(0.0)
        self.sense(0.0)
        return self

    def sense(self, now: float, **changes: Any) -> None:
        self.inputs = replace(self.inputs, heartbeat=self.inputs.heartbeat + 1, **changes)
        self.controller.sense(self.inputs, now)
        self.tick(now)

    def hear(self, now: float, part: int, evaluation: Evaluation = OK, seq: int = 1, captured_s: float = 0.0) -> None:
        told = {"part_id": f"part-{part:05d}.png", "evaluation": evaluation, "captured_ns": int(captured_s * 1e9)}
        self.controller.hear(msgspec.structs.replace(verdict(seq), **told), now)
        self.tick(now)

    def tick(self, now: float) -> None:
        self.controller.tick(now)
        self.actions += self.controller.take_actions()

    @property
    def status(self) -> Status:
        return self.controller.status

    @property
    def left(self) -> list[tuple[int, bool]]:
        return [(a.ruling.number, a.ruling.released) for a in self.actions if isinstance(a, Left)]

    @property
    def switches(self) -> list[Switch]:
        return [a for a in self.actions if isinstance(a, Switch)]

    @property
    def faults(self) -> list[Fault]:
        return [a.fault for a in self.actions if isinstance(a, Change) and a.began]


def test_ready_needs_vision_and_the_plc() -> None:
    line = Line()
    assert (line.status.ready, line.status.error) == (False, Fault.STARTING)
    line.controller.hear(beat(0), 0.0)
    assert (line.status.ready, line.status.error) == (False, Fault.PLC_LOST)
    line.sense(0.0)
    assert (line.status.ready, line.status.error) == (True, 0)


@pytest.mark.parametrize("order", ["trigger first", "verdict first"])
def test_a_good_part_is_released_as_soon_as_it_is_known_good(order: str) -> None:
    line = Line().ready()
    steps = [lambda: line.sense(2.0, trigger=1), lambda: line.hear(2.0, part=1)]
    for step in steps if order == "trigger first" else reversed(steps):
        step()
    assert [a for a in line.actions if isinstance(a, Ruling)] == [Ruling(1, OK)]
    assert line.status.busy
    assert line.controller.next_moment(2.0) == 2.0 + TRAVEL
    line.tick(3.0)
    assert (line.left, line.switches, line.status.busy) == ([(1, True)], [], False)


@pytest.mark.parametrize("evaluation", [NOT_OK, NOT_DECIDABLE, None])
def test_every_other_part_is_pushed_out_for_the_set_time_at_its_moment(evaluation: Evaluation | None) -> None:
    line = Line(pulse_s=0.05).ready()
    line.sense(2.0, trigger=1)
    if evaluation is not None:
        line.hear(2.1, 1, evaluation)
    line.tick(2.95)
    assert line.switches == []
    line.tick(3.001)
    assert line.switches == [Switch(True, 1, 3.0)]
    assert line.controller.next_moment(3.001) == pytest.approx(3.051)
    line.tick(3.051)
    assert line.switches[1:] == [Switch(False)]
    assert line.left == [(1, False)]


@pytest.mark.parametrize(("off", "told"), [(3.06, False), (3.09, True)])
def test_a_pulse_that_was_much_too_long_is_told(off: float, told: bool) -> None:
    line = Line(pulse_s=0.05).ready()
    line.sense(2.0, trigger=1)
    line.hear(2.1, 1, NOT_OK)
    line.sense(3.0)
    line.sense(off)
    assert [switch.on for switch in line.switches] == [True, False]
    assert (Fault.PULSE in line.faults) is told


def test_a_verdict_that_comes_too_late_changes_nothing_and_clears_ready() -> None:
    line = Line().ready()
    line.sense(2.0, trigger=1)
    line.sense(2.91)
    assert (line.status.ready, line.status.error) == (False, Fault.LATE)
    line.hear(2.95, part=1)
    line.sense(3.0)
    assert line.left == [(1, False)]
    line.sense(3.05)
    line.sense(4.1)
    assert line.status.ready


@pytest.mark.parametrize(
    ("error", "fault", "holds"),
    [
        (GapError(Gap("cell-7", "s1", 3, 4)), Fault.GAP, False),
        (MessageError("foreign bytes"), Fault.GAP, False),
        (SilenceError("nothing for 3 s"), Fault.SILENCE, True),
    ],
)
def test_what_does_not_come_from_vision_clears_ready(error: InspectError, fault: Fault, holds: bool) -> None:
    line = Line().ready()
    line.controller.miss(error, 2.0)
    assert (line.status.ready, line.status.error) == (False, fault)
    line.tick(9.0)
    assert Fault.PLC_FROZEN in line.faults
    line.sense(9.0)
    assert line.status.ready is not holds
    line.controller.hear(beat(0), 9.0)
    assert line.status.ready


@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_ready_means_that_vision_judges_every_part(state: State) -> None:
    line = Line().ready()
    line.controller.hear(beat(0, state=state), 1.0)
    assert (line.status.ready, line.status.error) == (False, Fault.NOT_RUNNING)


def test_a_lost_plc_condemns_what_is_on_the_belt() -> None:
    line = Line().ready()
    line.sense(2.0, trigger=1)
    line.hear(2.1, part=1)
    line.controller.lose("connection refused")
    line.tick(2.2)
    assert [ruling.released for ruling in line.actions if isinstance(ruling, Ruling)] == [True, False]
    assert not line.status.ready
    line.sense(2.3)
    assert line.status.ready
    line.tick(3.1)
    assert line.left == []


def test_a_plc_whose_program_stands_still_clears_ready() -> None:
    line = Line().ready()
    line.controller.sense(line.inputs, 1.0)
    line.tick(1.0)
    assert line.faults[-1] is Fault.PLC_FROZEN
    line.sense(1.1)
    assert line.status.ready


def test_parts_that_passed_unseen_are_told_to_be_rejected() -> None:
    line = Line().ready()
    line.sense(1.0, trigger=65535)
    line.actions.clear()
    line.sense(2.0, trigger=1)
    assert [(a.number, a.released) for a in line.actions if isinstance(a, Ruling)] == [(0, False)]
    assert Fault.MISSED_TRIGGER in line.faults
    line.hear(2.1, part=1)
    line.tick(3.0)
    assert line.left == [(1, True)]


def test_a_plc_that_counts_anew_condemns_what_is_on_the_belt() -> None:
    line = Line().ready()
    line.sense(1.0, trigger=500)
    line.sense(1.1, trigger=501)
    line.hear(1.2, part=501)
    line.sense(1.3, trigger=0)
    assert line.actions.count(Ruling(501, NOT_DECIDABLE, "the PLC counts anew")) == 1
    assert Fault.POSITION_LOST in line.faults


def test_an_early_verdict_on_no_part_at_all_is_told() -> None:
    line = Line(early_s=0.2).ready()
    line.hear(1.0, part=9)
    line.tick(1.3)
    assert Fault.LATE in line.faults
    line.sense(1.3, trigger=9)
    line.tick(2.3)
    assert line.left == [(9, False)]


def test_defective_parts_in_a_row_lock_the_line_until_the_operator_resets() -> None:
    line = Line(lockout_after=2).ready()
    for number in (1, 2, 3):
        line.sense(number / 10, trigger=number)
        line.hear(number / 10, number, OK if number == 3 else NOT_OK)
    line.tick(1.25)
    assert line.status.lockout
    line.sense(1.26, trigger=4)
    line.hear(1.26, part=4)
    line.tick(2.3)
    assert line.left == [(1, False), (2, False), (3, False), (4, False)]
    line.sense(2.4, reset=True)
    line.sense(2.5, trigger=5)
    line.hear(2.5, part=5)
    line.sense(3.5)
    assert line.left[-1] == (5, True)
    assert line.status.ready


def test_on_a_line_without_sensor_a_verdict_tells_of_its_part_and_only_a_release_lets_it_pass() -> None:
    line = Line(parts="verdict", fire="release", pulse_s=0.05).ready()
    line.hear(2.02, 7, OK, captured_s=2.0, seq=1)
    line.hear(2.22, 8, NOT_OK, captured_s=2.2, seq=2)
    line.tick(3.0)
    assert line.switches == [Switch(True, 1, 3.0)]
    line.tick(3.05)
    line.tick(3.2)
    assert line.switches[1:] == [Switch(False)]
    assert line.left == [(1, True), (2, False)]


def test_with_an_encoder_parts_keep_their_place_while_the_belt_stands() -> None:
    line = Line(track="encoder", travel=1000.0, margin=100.0).ready()
    count = 0
    for step in range(1, 300):
        now = step / 100
        count += 0 if 100 <= step < 200 else 10
        line.sense(now, encoder=count, trigger=1 if step >= 50 else 0, trigger_encoder=495)
        if step == 60:
            line.hear(now, 1, NOT_OK)
    (on, off) = line.switches
    assert (on.on, off.on, on.number) == (True, False, 1)
    assert on.planned == pytest.approx(2.495, abs=0.011)
    assert line.left == [(1, False)]


@pytest.mark.parametrize(("on_fault", "stop"), [("reject", False), ("stop", True)])
def test_the_line_is_asked_to_halt_where_the_station_file_says_so(on_fault: str, stop: bool) -> None:
    line = Line(on_fault=on_fault).ready()
    assert not line.status.stop
    line.controller.miss(MessageError("expected a verdict, found other bytes"), 1.0)
    assert line.status.stop is stop


def asked(line: Line) -> list[Any]:
    return [action.request for action in line.actions if isinstance(action, Ask)]


def test_each_camera_is_triggered_for_each_part() -> None:
    line = Line(trigger_cameras=True).ready()
    line.sense(2.0, trigger=7, trigger_encoder=900)
    (request,) = asked(line)
    assert (request.camera, request.part_id, request.encoder) == ("top", "7", 900)
    line.controller.answer(Triggered(trigger_id=1, request_id=request.request_id), 2.01)
    line.hear(2.2, part=7)
    line.tick(3.0)
    assert line.left == [(7, True)]


@pytest.mark.parametrize("answer", [Refused(reason="overrun", request_id="trigger 7 top"), None])
def test_a_part_whose_trigger_is_not_confirmed_is_rejected_whatever_comes(answer: Refused | None) -> None:
    line = Line(trigger_cameras=True, trigger_limit_s=0.1).ready()
    line.sense(2.0, trigger=7)
    if answer is not None:
        line.controller.answer(answer, 2.01)
    line.tick(2.11)
    assert Fault.NO_PICTURE in line.faults
    line.controller.answer(Triggered(trigger_id=1, request_id="trigger 7 top"), 2.12)
    line.hear(2.2, part=7)
    line.tick(3.0)
    assert line.left == [(7, False)]


def test_a_job_of_the_plc_is_asked_for_and_its_parts_wait_for_no_other_recipe() -> None:
    line = Line().ready()
    line.controller = Controller(PlcTable(travel=TRAVEL, margin=MARGIN), ["top"], {2: "plate"})
    line.controller.hear(beat(0), 0.0)
    line.sense(0.0, job=2)
    line.sense(0.1, trigger=1)
    assert [request.recipe for request in asked(line)] == ["plate"]
    assert (line.status.ready, line.status.error) == (False, Fault.RECIPE)
    line.hear(0.2, part=1)
    line.tick(1.2)
    assert line.left == [(1, False)]


@pytest.mark.parametrize("part_id", [None, "", "part", "9" * 5000, "1" + "0" * 20, "\u0661", "x" * 5000 + "7y"])
def test_any_name_of_a_part_is_only_a_name(part_id: str | None) -> None:
    line = Line().ready()
    line.sense(2.0, trigger=1)
    line.controller.hear(msgspec.structs.replace(verdict(1), part_id=part_id), 2.0)
    line.tick(3.0)
    assert line.left == [(1, False)]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.1, 0.6, 1.2])),
        st.tuples(st.just("enter"), st.integers(1, 3)),
        st.tuples(
            st.just("judge"),
            st.tuples(st.integers(-3, 2), st.sampled_from(["top", "side"]), st.sampled_from(list(Evaluation))),
        ),
        st.tuples(st.sampled_from(["gap", "silence", "beat", "lose", "restart", "reset"]), st.none()),
    ),
    max_size=80,
)


@given(steps)
def test_whatever_happens_to_the_line_only_what_both_cameras_vouched_for_is_released(history: list[Any]) -> None:
    line = Line(lockout_after=3, early_s=0.3)
    line.controller = Controller(PlcTable(travel=TRAVEL, margin=MARGIN, lockout_after=3, early_s=0.3), ["top", "side"])
    now, newest = 0.0, 1000
    said: dict[int, set[tuple[str, Evaluation]]] = {}
    line.sense(now, trigger=newest)
    for what, detail in history:
        if what == "wait":
            now += detail
        elif what == "enter":
            newest += detail
            line.sense(now, trigger=newest)
        elif what == "judge":
            behind, camera, evaluation = detail
            said.setdefault(newest + behind, set()).add((camera, evaluation))
            changes = {"part_id": str(newest + behind), "camera": camera, "evaluation": evaluation}
            line.controller.hear(msgspec.structs.replace(verdict(1), **changes), now)
        elif what == "gap":
            line.controller.miss(GapError(Gap("cell-7", "s1", 3, 4)), now)
        elif what == "silence":
            line.controller.miss(SilenceError("silent"), now)
        elif what == "lose":
            line.controller.lose("cable")
        elif what == "restart":
            newest += 5000
            line.sense(now, trigger=newest)
        elif what == "reset":
            line.controller.reset("the operator")
        else:
            line.controller.hear(beat(0), now)
        line.tick(now)
    vouched = {number for number, words in said.items() if words >= {("top", OK), ("side", OK)}}
    told = [action for action in line.actions if isinstance(action, Ruling)]
    assert {ruling.number for ruling in told if ruling.released} <= vouched
    last = {ruling.number: ruling.released for ruling in told}
    assert all(last[number] == released for number, released in line.left)
    assert len(line.left) == len({number for number, _ in line.left})
