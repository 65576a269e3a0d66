from __future__ import annotations

import pytest

from edge.health import Health
from edge.verdict import Counters, Evaluation, State


@pytest.fixture
def health() -> Health:
    health = Health(["top", "side"])
    health.enter(State.RUNNING)
    return health


def test_a_fault_degrades_camera_and_station_until_it_is_cleared(health: Health) -> None:
    top, side = health.cameras.values()
    top.fault("camera", "unplugged")
    assert (top.condition.state, top.condition.reason) == (State.DEGRADED, "unplugged")
    assert (health.condition.state, health.condition.reason) == (State.DEGRADED, "camera top: unplugged")
    top.fault("engine", "slow")
    side.fault("camera", "dark")
    assert health.condition.reason == "camera top: unplugged; slow; camera side: dark"
    top.clear("camera")
    side.clear("camera")
    assert health.condition.reason == "camera top: slow"
    top.clear("engine")
    assert (health.condition.state, health.condition.reason) == (State.RUNNING, "")


def test_one_camera_disarmed_degrades_the_station_and_all_of_them_disarm_it(health: Health) -> None:
    top, side = health.cameras.values()
    top.disarm("failed")
    top.fault("camera", "unplugged")
    assert (top.condition.state, top.condition.reason) == (State.DISARMED, "failed")
    assert (health.condition.state, health.condition.reason) == (State.DEGRADED, "camera top: failed")
    side.disarm("failed, too")
    assert health.condition.state is State.DISARMED


@pytest.mark.parametrize("phase", [State.STOPPING, State.STOPPED])
def test_a_fault_never_hides_that_the_station_is_stopping(health: Health, phase: State) -> None:
    health.cameras["top"].fault("camera", "unplugged")
    health.enter(phase, "because")
    assert (health.condition.state, health.condition.reason) == (phase, "because")
    assert health.cameras["top"].condition.state is phase


def test_the_condition_changes_its_identity_only_when_it_changes(health: Health) -> None:
    first = health.condition
    health.enter(State.RUNNING)
    health.cameras["top"].clear("camera")
    assert health.condition is first
    health.cameras["top"].fault("camera", "unplugged")
    since = health.condition.since
    health.cameras["top"].fault("camera", "still unplugged")
    assert health.condition.reason == "camera top: still unplugged"
    assert health.condition.since == since >= first.since


def test_counters_are_told_apart_and_summed(health: Health) -> None:
    top, side = health.cameras.values()
    for _ in range(6):
        top.count_frame()
    for evaluation in (Evaluation.OK, Evaluation.OK, Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE):
        top.count_verdict(evaluation)
    top.count_drop("newer frame", 2)
    top.count_restart("top.capture")
    top.count_reconnect()
    side.count_frame()
    side.count_drop("newer frame")
    health.count_restart("publisher")
    assert top.counters == Counters(
        frames=6,
        ok=2,
        not_ok=1,
        not_decidable=1,
        reconnects=1,
        dropped={"newer frame": 2},
        restarts={"top.capture": 1},
    )
    assert side.counters == Counters(frames=1, dropped={"newer frame": 1})
    assert health.counters == Counters(
        frames=7,
        ok=2,
        not_ok=1,
        not_decidable=1,
        reconnects=1,
        dropped={"newer frame": 3},
        restarts={"top.capture": 1, "publisher": 1},
    )
