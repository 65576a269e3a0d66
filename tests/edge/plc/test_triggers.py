from __future__ import annotations

from edge.plc.triggers import PendingTriggers
from edge.requests import Done, Refused, Triggered


def test_a_confirmed_trigger_is_settled() -> None:
    pending = PendingTriggers(limit_s=0.1)
    request = pending.ask(7, "top", encoder=900, now=1.0)
    assert (request.camera, request.part_id, request.encoder) == ("top", "7", 900)
    assert pending.settle(Triggered(trigger_id=3, request_id=request.request_id)) is None
    assert pending.overdue(9.0) == []


def test_a_refused_trigger_names_its_part() -> None:
    pending = PendingTriggers(limit_s=0.1)
    top, side = (pending.ask(7, camera, 0, now=1.0) for camera in ("top", "side"))
    assert pending.settle(Refused(reason="no camera", request_id=top.request_id)) == (7, "no camera")
    assert pending.settle(Done(message="", request_id=side.request_id)) == (7, "vision answered Done")


def test_a_late_confirmation_is_none() -> None:
    pending = PendingTriggers(limit_s=0.1)
    request = pending.ask(7, "top", 0, now=1.0)
    assert pending.overdue(1.05) == []
    assert pending.overdue(1.1) == [7]
    assert pending.settle(Triggered(trigger_id=1, request_id=request.request_id)) is None


def test_foreign_answers_are_nobodys() -> None:
    assert PendingTriggers(limit_s=0.1).settle(Refused(reason="", request_id="trigger 1 top")) is None
