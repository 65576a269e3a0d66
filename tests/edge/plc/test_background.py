from __future__ import annotations

import threading

import pytest

from edge.plc.background import Background
from edge.plc.conveyor import Ruling
from edge.plc.output import Output, OutputError
from edge.plc.signals import Action
from edge.verdict import Evaluation


class Slow(Output):
    """Waits at the first action until it is let go."""

    def __init__(self, fails: bool = False) -> None:
        self.done: list[Action] = []
        self.go = threading.Event()
        self.begun = threading.Event()
        self.closed = False
        self._fails = fails

    def open(self) -> None:
        if self._fails:
            raise OutputError("the port is taken")

    def carry_out(self, action: Action) -> None:
        self.begun.set()
        self.go.wait(30)
        self.done.append(action)
        raise OutputError("not this one")

    def close(self) -> None:
        self.closed = True


def rulings(count: int) -> list[Ruling]:
    return [Ruling(number, Evaluation.OK) for number in range(count)]


def test_a_slow_output_holds_nobody_up_and_gets_everything_in_order() -> None:
    slow = Slow()
    with Background("slow", slow) as background:
        for ruling in rulings(100):
            background.carry_out(ruling)
        assert slow.done == []
        slow.go.set()
    assert slow.done == rulings(100)
    assert slow.closed


def test_the_oldest_give_way_and_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow()
    background = Background("slow", slow)
    with background:
        background.carry_out(Ruling(0, Evaluation.OK))
        assert slow.begun.wait(30)
        for ruling in rulings(5000):
            background.carry_out(ruling)
        slow.go.set()
    assert background.dropped == 5000 - 4096
    assert slow.done[-1] == Ruling(4999, Evaluation.OK)
    assert "904 messages were left out" in caplog.text


def test_what_cannot_be_opened_says_so_at_the_start() -> None:
    with pytest.raises(OutputError, match="the port is taken"), Background("slow", Slow(fails=True)):
        pass
