from __future__ import annotations

import msgspec
import pytest

from edge.verdict import CameraStatus, Counters, DriftStatus, Evaluation, Heartbeat, StageTimes, State
from edge.web.scene import LAST_PARTS, Part, Scene, Shown
from tests.edge.clock import Clock
from tests.edge.messages import beat, verdict


@pytest.fixture
def scene(clock: Clock) -> Scene:
    return Scene("a", lambda: None, clock)


def shown(scene: Scene) -> Shown:
    return msgspec.json.decode(scene.shown(), type=Shown)


def drifting(last_seq: int, *alarms: str, session: str = "s1") -> Heartbeat:
    watches = {
        name: DriftStatus(alarm=name in alarms, level=0.5, usual=0.01, raised=0.1, parts_to_alarm=50)
        for name in ("rejects", "high scores")
    }
    camera = CameraStatus(
        state=State.RUNNING,
        state_s=1.0,
        reason="",
        counters=Counters(),
        recipe="flange",
        bundle_digest="d",
        engine="openvino",
        precision="f32",
        drift=watches,
    )
    return msgspec.structs.replace(beat(last_seq, session), cameras={"top": camera})


def test_a_reader_gets_every_part_once(scene: Scene) -> None:
    for number in range(1, 4):
        scene.hear(verdict(number))
    place, parts = scene.parts_since(0)
    assert [msgspec.json.decode(part, type=Part).seq for part in parts] == [1, 2, 3]
    assert scene.parts_since(place) == (place, [])
    scene.hear(verdict(4))
    assert len(scene.parts_since(place)[1]) == 1


def test_a_slow_reader_gets_the_newest_and_takes_no_memory(scene: Scene) -> None:
    for number in range(1, LAST_PARTS + 101):
        scene.hear(verdict(number))
    place, parts = scene.parts_since(10)
    assert place == LAST_PARTS + 100
    assert [msgspec.json.decode(part, type=Part).seq for part in parts] == list(range(101, LAST_PARTS + 101))


def test_a_part_without_an_id_is_called_by_its_frame(scene: Scene) -> None:
    scene.hear(verdict(7))
    scene.hear(msgspec.structs.replace(verdict(8), part_id="", evaluation=Evaluation.NOT_OK))
    names = [msgspec.json.decode(part, type=Part).name for part in scene.parts_since(0)[1]]
    assert names == ["frame 7", ""]


def test_silence_is_told_until_something_is_heard(scene: Scene) -> None:
    assert shown(scene).trouble == "not heard from the station yet"
    before = scene.changes
    scene.hear(beat(0))
    assert shown(scene).trouble == ""
    scene.lack("a: no heartbeat for 3.0 s")
    assert "3.0 s" in shown(scene).trouble
    assert scene.changes == before + 2
    scene.miss(3)
    assert shown(scene).missed == 3


def test_the_pace_is_that_of_the_last_minute(scene: Scene, clock: Clock) -> None:
    for number in range(1, 241):
        clock.now += 0.5
        times = StageTimes(capture=0.0, queue=0.0, total=float(number))
        scene.hear(msgspec.structs.replace(verdict(number), stage_ms=times))
    pace = shown(scene).paces["top"]
    assert pace.parts_a_minute == pytest.approx(120, abs=1)
    assert pace.p50_ms == pytest.approx(181, abs=1)
    clock.now += 61
    assert shown(scene).paces["top"].parts_a_minute == 0
    assert shown(scene).paces["top"].p99_ms is None


def test_the_pace_of_a_line_that_has_just_begun_is_not_of_a_whole_minute(scene: Scene, clock: Clock) -> None:
    for number in range(1, 21):
        clock.now += 0.5
        scene.hear(verdict(number))
    assert shown(scene).paces["top"].parts_a_minute == pytest.approx(126, abs=5)


def test_drift_is_marked_where_it_began(scene: Scene) -> None:
    for message in (
        drifting(5),
        drifting(9, "rejects"),
        drifting(12, "rejects"),
        drifting(15),
        drifting(20, "rejects"),
    ):
        scene.hear(message)
    assert [(mark.watch, mark.seq) for mark in shown(scene).marks] == [("rejects", 9), ("rejects", 20)]
    scene.hear(drifting(2, "rejects", session="s2"))
    assert [mark.session_id for mark in shown(scene).marks] == ["s1", "s1", "s2"]
