from __future__ import annotations

from edge.plc.failsafe import Change, FailSafe, Fault


def test_faults_that_hold_stay_and_those_that_happened_go() -> None:
    failsafe = FailSafe(hold_s=1.0)
    assert failsafe.ready
    failsafe.hold(Fault.SILENCE, "dead")
    failsafe.happened(Fault.GAP, now=0.0)
    failsafe.happened(Fault.GAP, now=0.5)
    assert (failsafe.ready, failsafe.code, failsafe.next_expiry) == (False, Fault.SILENCE, 1.5)
    failsafe.expire(1.4)
    assert Fault.GAP in failsafe
    failsafe.expire(1.5)
    assert Fault.GAP not in failsafe
    assert not failsafe.ready
    failsafe.clear(Fault.SILENCE)
    assert (failsafe.ready, failsafe.code) == (True, 0)
    assert failsafe.take_changes() == [
        Change(Fault.SILENCE, began=True, reason="dead"),
        Change(Fault.GAP, began=True),
        Change(Fault.GAP, began=False),
        Change(Fault.SILENCE, began=False),
    ]
    assert failsafe.take_changes() == []


def test_another_reason_for_what_holds_is_told_and_the_same_one_is_not() -> None:
    failsafe = FailSafe(hold_s=1.0)
    for reason in ("not asked yet", "no answer", "no answer", "refused"):
        failsafe.hold(Fault.PLC_LOST, reason)
    assert [change.reason for change in failsafe.take_changes()] == ["not asked yet", "no answer", "refused"]
    failsafe.clear(Fault.PLC_LOST)
    failsafe.hold(Fault.PLC_LOST, "refused")
    assert [change.began for change in failsafe.take_changes()] == [False, True]


def test_codes_are_distinct_and_fit_a_register() -> None:
    assert sorted(Fault) == list(range(1, len(Fault) + 1))
