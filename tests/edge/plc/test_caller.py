from __future__ import annotations

import time

import pytest

from edge.config import ControlTable, SecurityTable
from edge.control import Control
from edge.plc.caller import Caller
from edge.plc.output import OutputError
from edge.plc.signals import Ask, Status
from edge.requests import AnyReply, Triggered, TriggerRequest
from edge.worker import Worker

PATIENCE_S = 30.0
ASK = Ask(TriggerRequest(camera="top", part_id="7", request_id="trigger 7 top"))


def test_a_request_nobody_is_there_to_take_is_an_error_and_never_comes_later(endpoint: str) -> None:
    asked: list[TriggerRequest] = []
    with Caller(endpoint, None) as caller:
        assert isinstance(caller, Caller)
        with pytest.raises(OutputError, match="vision takes no request at tcp"):
            caller.carry_out(ASK)
        replies = talk(caller, endpoint, asked)
    assert [reply.request_id for reply in replies] == ["trigger 7 top"]
    assert len(asked) == 1


def talk(caller: Caller, endpoint: str, asked: list[TriggerRequest]) -> list[AnyReply]:
    control = Control(ControlTable(bind=endpoint), SecurityTable())
    control.on(TriggerRequest, lambda request: asked.append(request) or Triggered(trigger_id=1))
    worker = Worker("control", control)
    worker.start()
    try:
        send(caller)
        deadline, replies = time.monotonic() + PATIENCE_S, caller.replies()
        while not replies and time.monotonic() < deadline:
            time.sleep(0.01)
            replies = caller.replies()
        return replies
    finally:
        worker.stop(PATIENCE_S)


def send(caller: Caller) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return caller.carry_out(ASK)
        except OutputError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_is_no_request_is_none_of_its_business(endpoint: str) -> None:
    with Caller(endpoint, None) as caller:
        caller.carry_out(Status())
