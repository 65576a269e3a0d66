from __future__ import annotations

import pytest

from edge.plc.conveyor import NO_VERDICT, Ruling
from edge.plc.failsafe import Change, Fault
from edge.plc.figures import Figures
from edge.plc.heartbeat import Condition, GatewayState, PlcLink, Sorted
from edge.plc.signals import Left, Status
from edge.verdict import Evaluation
from tests.edge.clock import Clock


@pytest.fixture
def figures(clock: Clock) -> Figures:
    return Figures(has_plc=True, clock=clock)


def change(figures: Figures, fault: Fault, began: bool, reason: str = "") -> Condition:
    figures.carry_out(Change(fault, began, reason))
    return figures.condition


def test_it_is_not_ready_before_the_first_word(figures: Figures) -> None:
    assert (figures.condition.state, figures.condition.fault) == (GatewayState.NOT_READY, "starting")


def test_the_gravest_fault_is_told_with_its_latest_reason(figures: Figures, clock: Clock) -> None:
    change(figures, Fault.STARTING, began=False)
    clock.now += 3
    assert (figures.condition.state, figures.state_s) == (GatewayState.READY, 3.0)
    change(figures, Fault.LOCKOUT, True, "10 in a row")
    found = change(figures, Fault.PLC_LOST, True, "no answer")
    assert (found.fault, found.reason, found.lockout, found.plc) == ("plc_lost", "no answer", True, PlcLink.LOST)
    assert change(figures, Fault.PLC_LOST, True, "refused").reason == "refused"
    found = change(figures, Fault.PLC_LOST, False)
    assert (found.fault, found.reason, found.plc) == ("lockout", "10 in a row", PlcLink.UP)
    assert figures.state_s == 0.0
    assert {name for name, count in figures.begun.items() if count} == {"lockout", "plc_lost"}
    assert figures.begun["plc_lost"] == 1


def test_a_plc_that_stands_still_is_not_up_and_one_that_is_not_there_is_none(figures: Figures) -> None:
    assert change(figures, Fault.PLC_FROZEN, True).plc is PlcLink.FROZEN
    assert Figures(has_plc=False).condition.plc is PlcLink.NONE


def test_parts_are_counted_at_the_ejector(figures: Figures) -> None:
    for evaluation, reason in (
        (Evaluation.OK, ""),
        (Evaluation.OK, ""),
        (Evaluation.NOT_OK, "a scratch"),
        (Evaluation.NOT_DECIDABLE, NO_VERDICT),
    ):
        figures.carry_out(Ruling(1, evaluation, reason))
        figures.carry_out(Left(Ruling(1, evaluation, reason)))
    assert figures.parts == Sorted(released=2, rejected=2, late=1)
    figures.carry_out(Status(rate_alarm=True))
    assert figures.condition.rate_alarm


def test_a_loop_that_stands_still_is_seen(figures: Figures, clock: Clock) -> None:
    clock.now += 7
    assert figures.stands_s == 7
    figures.turned()
    assert figures.stands_s == 0
