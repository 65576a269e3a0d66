from __future__ import annotations

from edge.health import Health
from edge.verdict import Counters, Evaluation, State


def test_a_fault_degrades_a_running_station_until_it_is_cleared() -> None:
    health = Health()
    health.enter(State.RUNNING)
    health.fault("camera", "unplugged")
    assert (health.condition.state, health.condition.reason) == (State.DEGRADED, "unplugged")
    health.fault("engine", "slow")
    assert health.condition.reason == "unplugged; slow"
    health.clear("camera")
    assert (health.condition.state, health.condition.reason) == (State.DEGRADED, "slow")
    health.clear("engine")
    assert (health.condition.state, health.condition.reason) == (State.RUNNING, "")


def test_a_fault_never_hides_that_the_station_is_disarmed_or_stopping() -> None:
    for phase in (State.DISARMED, State.STOPPING, State.STOPPED):
        health = Health()
        health.fault("camera", "unplugged")
        health.enter(phase, "because")
        assert (health.condition.state, health.condition.reason) == (phase, "because")


def test_the_condition_changes_its_identity_only_when_it_changes() -> None:
    health = Health()
    health.enter(State.RUNNING)
    first = health.condition
    health.enter(State.RUNNING)
    health.clear("camera")
    assert health.condition is first
    health.fault("camera", "unplugged")
    since = health.condition.since
    health.fault("camera", "still unplugged")
    assert health.condition.reason == "still unplugged"
    assert health.condition.since == since >= first.since


def test_counters_are_told_apart() -> None:
    health = Health()
    for _ in range(6):
        health.count_frame()
    for evaluation in (Evaluation.OK, Evaluation.OK, Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE):
        health.count_verdict(evaluation)
    health.count_drop("newer frame", 2)
    health.count_restart("capture")
    health.count_reconnect()
    assert health.counters == Counters(
        frames=6,
        ok=2,
        not_ok=1,
        not_decidable=1,
        reconnects=1,
        dropped={"newer frame": 2},
        restarts={"capture": 1},
    )
