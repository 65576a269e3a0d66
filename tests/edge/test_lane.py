"""A whole lane with a real engine: parts in are verdicts out, whatever happens to the pictures."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.cameras.camera import Capabilities, Triggering
from edge.cameras.tables import FolderCamera
from edge.config import PipelineTable
from edge.health import Health
from edge.inbox import Inbox, TriggerRefusedError
from edge.inspector import Collector, Fed, Judgement
from edge.lane import Lane
from edge.product import Product
from edge.queues import BoundedQueue, Policy
from edge.triggers import Trigger
from edge.turnstile import Turnstile
from edge.verdict import Evaluation, State
from tests.edge.line import Hesitant, SimulatedCamera, Withholding

PATIENCE_S = 20.0
FATES = ["ok", "lost", "twice", "torn", "ok", "late", "ok", "gone", "ok", "lost", "late", "late", "twice", "ok"]
LIMITS = PipelineTable(frames=4, trigger_timeout_s=0.3, drain_s=10.0)


class Station:
    """One lane and what it hands to the publisher."""

    def __init__(self, camera: SimulatedCamera, product: Product, limits: PipelineTable = LIMITS) -> None:
        self.health = Health(["top"])
        self.camera = camera
        self.judged: BoundedQueue[Judgement] = BoundedQueue(10_000, Policy.ALL)
        table = FolderCamera(path=Path(), retry_s=0.01, retry_max_s=0.02)
        self.lane = Lane(table, camera, product, limits, self.judged, self.health.cameras["top"])
        self.health.enter(State.RUNNING)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.judged) < count:
            assert time.monotonic() < deadline, f"{len(self.judged)} of {count} parts were judged"
            time.sleep(0.001)

    def supervise_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            self.lane.supervise()
            time.sleep(0.01)

    def take(self, count: int) -> list[Judgement]:
        self.wait_for(count)
        return [judgement for _ in range(len(self.judged)) if (judgement := self.judged.get(0.0))]

    def drain(self) -> None:
        self.lane.stop_taking()
        self.lane.drain(time.monotonic() + PATIENCE_S)


@pytest.fixture
def images(render_part) -> list[NDArray[np.uint8]]:
    return [render_part(300 + number, number % 3 == 0) for number in range(5)]


@pytest.fixture
def start(
    product: Product, images: list[NDArray[np.uint8]]
) -> Iterator[Callable[..., tuple[Station, SimulatedCamera]]]:
    """`start(triggering, fates, limits, product)`: a lane that is armed."""
    stations: list[Station] = []

    def begin(
        triggering: Triggering, fates: Sequence[str], limits: PipelineTable = LIMITS, by: Product = product
    ) -> tuple[Station, SimulatedCamera]:
        camera = SimulatedCamera(triggering, images, fates)
        stations.append(Station(camera, by, limits))
        stations[-1].lane.arm()
        return stations[-1], camera

    yield begin
    for station in stations:
        station.drain()


@pytest.fixture
def scores(product: Product, images: list[NDArray[np.uint8]]) -> list[float]:
    """What the engine says of each picture."""
    return [float(product.engine.infer(product.judge.preprocessing(image)[None]).scores[0]) for image in images]


def reasons(judgements: list[Judgement]) -> list[str]:
    return [judgement.decision.reason.partition(":")[0] for judgement in judgements if judgement.decision.score is None]


def test_every_software_trigger_has_one_verdict_in_order_on_its_own_picture(start, product: Product, scores) -> None:
    hesitant = dataclasses.replace(product, engine=Hesitant(product.engine, lambda n: 0.15 if n % 20 == 7 else 0.0))
    station, _ = start(Triggering.SOFTWARE, FATES * 6, by=hesitant)
    count = len(FATES) * 6
    for number in range(1, count + 1):
        assert station.lane.trigger(f"part-{number}", 7 * number) == number
        time.sleep(0.004)
    judged = station.take(count)
    assert [judgement.frame.trigger_id for judgement in judged] == list(range(1, count + 1))
    assert [judgement.frame.part_id for judgement in judged] == [f"part-{number}" for number in range(1, count + 1)]
    assert [judgement.frame.encoder for judgement in judged] == [7 * number for number in range(1, count + 1)]
    decided = [judgement for judgement in judged if judgement.decision.score is not None]
    assert len(decided) > 10
    assert all(j.decision.score == scores[(j.frame.trigger_id or 0) % len(scores)] for j in decided)
    assert set(reasons(judged)) <= {"missing", "camera lost", "incomplete", "overrun"}
    assert {"missing", "camera lost", "incomplete"} <= set(reasons(judged))
    counters = station.health.counters
    assert counters.frames == count + sum(counters.dropped.values())
    assert counters.reconnects > 0


def test_every_part_that_a_light_barrier_sees_has_one_verdict(start, scores) -> None:
    fates = ["late" if fate == "gone" else fate for fate in FATES] * 4
    station, camera = start(Triggering.HARDWARE, fates, PipelineTable(frames=1000))
    for number in range(1, len(fates) + 1):
        camera.trigger(number)
        time.sleep(0.01)
    judged = station.take(len(fates))
    assert [judgement.frame.trigger_id for judgement in judged] == list(range(1, len(fates) + 1))
    decided = [judgement for judgement in judged if judgement.decision.score is not None]
    assert all(j.decision.score == scores[(j.frame.trigger_id or 0) % len(scores)] for j in decided)
    undecided = {j.frame.trigger_id: j.decision.reason.partition(":")[0] for j in judged if j.decision.score is None}
    expected = {"lost": "missing", "late": "missing", "torn": "incomplete"}
    assert undecided == {n: expected[fate] for n, fate in enumerate(fates, start=1) if fate in expected}
    assert station.health.counters.dropped == {
        "late frame": fates.count("late"),
        "repeated frame": fates.count("twice"),
    }


def test_parts_that_come_too_fast_are_overruns_and_none_is_lost(start, product: Product) -> None:
    slow = dataclasses.replace(product, engine=Hesitant(product.engine, lambda _: 0.02))
    station, camera = start(Triggering.HARDWARE, [], by=slow)
    for number in range(1, 101):
        camera.trigger(number)
    judged = station.take(100)
    assert [judgement.frame.trigger_id for judgement in judged] == list(range(1, 101))
    assert set(reasons(judged)) == {"overrun"}
    assert judged[0].decision.evaluation is not Evaluation.NOT_DECIDABLE


def test_a_part_that_waited_too_long_is_late(start, product: Product) -> None:
    slow = dataclasses.replace(product, engine=Hesitant(product.engine, lambda _: 0.1))
    limits = PipelineTable(frames=100, late_s=0.15)
    station, camera = start(Triggering.HARDWARE, [], limits, slow)
    for number in range(1, 21):
        camera.trigger(number)
    judged = station.take(20)
    assert judged[0].decision.score is not None
    assert set(reasons(judged)) == {"late"}
    assert "more than 0.15 s" in judged[-1].decision.reason


def test_triggers_of_an_absent_camera_are_answered_at_once(start) -> None:
    station, _ = start(Triggering.SOFTWARE, ["gone"] * 20)
    for number in range(1, 21):
        assert station.lane.trigger(None, None) == number
    judged = station.take(20)
    assert set(reasons(judged)) == {"camera lost"}


def test_what_waits_at_the_end_has_its_verdict_too_and_nothing_more_is_accepted(start) -> None:
    station, _ = start(Triggering.SOFTWARE, ["lost"] * 10, PipelineTable(trigger_timeout_s=60.0))
    for _ in range(10):
        station.lane.trigger(None, None)
    station.drain()
    with pytest.raises(TriggerRefusedError, match="the station is stopping"):
        station.lane.trigger(None, None)
    assert len(station.take(10)) == 10


@pytest.mark.parametrize(
    ("triggering", "why"), [(Triggering.HARDWARE, "an electric signal"), (Triggering.NONE, "nothing but itself")]
)
def test_a_camera_that_takes_no_trigger_says_why(start, triggering: Triggering, why: str) -> None:
    station, _ = start(triggering, [])
    with pytest.raises(TriggerRefusedError, match=f"camera top is triggered by {why}"):
        station.lane.trigger(None, None)


def test_no_trigger_is_accepted_before_the_camera_is_armed(images, product: Product) -> None:
    station = Station(SimulatedCamera(Triggering.SOFTWARE, images, []), product)
    with pytest.raises(TriggerRefusedError, match="not armed yet"):
        station.lane.trigger(None, None)


def test_a_free_running_camera_keeps_the_newest_and_counts_the_others(start, product: Product, images) -> None:
    slow = dataclasses.replace(product, engine=Hesitant(product.engine, lambda _: 0.02))
    camera = SimulatedCamera(Triggering.NONE, images, [])
    camera.capabilities = Capabilities(free_running=True)
    station = Station(camera, slow)
    station.lane.arm()
    for number in range(1, 101):
        camera.trigger(number)
    deadline = time.monotonic() + PATIENCE_S
    while (counters := station.health.counters).frames < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    station.drain()
    frames = [judgement.frame.frame_id for judgement in station.take(1)]
    counters = station.health.counters
    assert frames == sorted(set(frames))
    assert frames[-1] == 100
    assert counters.dropped == {"newer frame": 100 - len(frames)}


def stuck(event: threading.Event) -> Callable[[int], float]:
    """Have the engine accept nothing from its third frame on until `event`."""

    def pause(number: int) -> float:
        if number > 2:
            event.wait(PATIENCE_S)
        return 0.0

    return pause


def test_an_engine_that_hangs_disarms_the_camera_and_every_part_still_has_one_verdict(start, product: Product) -> None:
    event = threading.Event()
    hanging = dataclasses.replace(product, engine=Hesitant(product.engine, stuck(event)))
    limits = PipelineTable(frames=4, hang_s=0.3)
    station, camera = start(Triggering.HARDWARE, [], limits, hanging)
    for number in range(1, 11):
        camera.trigger(number)
    station.supervise_until(lambda: len(station.judged) == 10)
    assert station.lane.disarmed
    event.set()  # it comes back after all, and must not judge the part once more
    station.drain()
    judged = station.take(10)
    assert [judgement.frame.trigger_id for judgement in judged] == list(range(1, 11))
    assert [judgement.decision.score is None for judgement in judged] == [False, False, *[True] * 8]
    assert "worker 'top.feeder' has hung for 0.3 s" in judged[2].decision.reason
    condition = station.health.condition
    assert condition.state is State.DISARMED
    assert "camera top: worker 'top.feeder' has hung" in condition.reason


def test_results_that_come_after_all_give_the_engine_back_to_the_other_cameras(start, product: Product) -> None:
    event = threading.Event()
    withholding = dataclasses.replace(product, engine=Withholding(product.engine, event))
    station, camera = start(Triggering.HARDWARE, [], PipelineTable(hang_s=0.3), withholding)
    for number in range(1, 5):
        camera.trigger(number)
    station.supervise_until(lambda: len(station.judged) == 4)
    assert "worker 'top.collector' has hung for 0.3 s" in station.lane.why_disarmed
    assert not product.turnstile.wait_until_empty(0.0)
    event.set()
    assert product.turnstile.wait_until_empty(PATIENCE_S)
    assert [judgement.frame.trigger_id for judgement in station.take(4)] == [1, 2, 3, 4]


def test_a_trigger_on_its_way_to_the_camera_is_settled_with_the_others(start, monkeypatch) -> None:
    take, taken = Inbox.take, threading.Event()

    def slow(self: Inbox) -> Trigger | None:
        trigger = take(self)
        if trigger is not None:
            taken.set()
            time.sleep(0.2)  # long enough for whoever settles meanwhile to find nothing
        return trigger

    station, _ = start(Triggering.SOFTWARE, ["lost"])
    monkeypatch.setattr(Inbox, "take", slow)
    station.lane.trigger("a", None)
    assert taken.wait(PATIENCE_S)
    station.lane.distrust("the golden parts score differently")
    station.supervise_until(lambda: len(station.judged) == 1)
    judged = station.take(1)
    assert [judgement.frame.part_id for judgement in judged] == ["a"]
    assert "the golden parts score differently" in judged[0].decision.reason


def test_a_camera_that_hangs_in_its_driver_is_waited_for_and_its_triggers_are_answered(start) -> None:
    station, camera = start(Triggering.SOFTWARE, [], PipelineTable(hang_s=0.3))
    camera.hanging = threading.Event()
    station.lane.trigger("a", None)
    station.supervise_until(lambda: len(station.judged) == 1)
    assert station.health.condition.state is State.DEGRADED
    assert "has not come back from its driver" in station.health.condition.reason
    station.lane.trigger("b", None)
    station.supervise_until(lambda: len(station.judged) == 2)
    camera.hanging.set()
    station.supervise_until(lambda: station.health.condition.state is State.RUNNING)
    station.lane.trigger("c", None)
    judged = station.take(3)
    assert [(j.frame.trigger_id, j.frame.part_id) for j in judged] == [(1, "a"), (2, "b"), (3, "c")]
    assert [judgement.decision.score is None for judgement in judged] == [True, True, False]


def test_a_worker_that_fails_too_often_leaves_no_part_without_a_verdict(start, monkeypatch) -> None:
    def fail(self: Collector, fed: Fed) -> Judgement:
        raise RuntimeError("no memory")

    station, _ = start(Triggering.SOFTWARE, [], PipelineTable(restarts=1))
    monkeypatch.setattr(Collector, "judge", fail)
    for number in range(1, 6):
        station.lane.trigger(f"{number}", None)
    station.supervise_until(lambda: station.lane.disarmed)
    monkeypatch.undo()
    station.supervise_until(lambda: len(station.judged) == 5)
    assert [j.frame.part_id for j in station.take(5)] == ["1", "2", "3", "4", "5"]
    with pytest.raises(TriggerRefusedError, match="camera top is disarmed"):
        station.lane.trigger(None, None)


def test_a_camera_in_a_hurry_does_not_keep_another_one_waiting(product: Product, images) -> None:
    """Both share one engine: between a part's trigger and its verdict at most so many others pass as are inside."""
    slow = dataclasses.replace(product, engine=Hesitant(product.engine, lambda _: 0.005), turnstile=Turnstile(2))
    hurried = Station(SimulatedCamera(Triggering.HARDWARE, images, []), slow, PipelineTable(frames=1000))
    calm = Station(SimulatedCamera(Triggering.HARDWARE, images, []), slow)
    for station in (hurried, calm):
        station.lane.arm()
    for number in range(1, 501):
        hurried.camera.trigger(number)
    hurried.wait_for(5)
    passed = []
    for number in range(1, 11):
        before = len(hurried.judged)
        calm.camera.trigger(number)
        calm.wait_for(number)
        passed.append(len(hurried.judged) - before)
    assert len(hurried.judged) < 500
    # The median, because this thread may be kept from looking at the clock by the others.
    assert sorted(passed)[len(passed) // 2] <= 6
    for station in (hurried, calm):
        station.drain()
    assert len(hurried.take(500)) == 500
