from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import zmq

from edge.cameras.camera import Frame
from edge.client import Subscriber
from edge.config import PublishTable
from edge.decision import Decision, undecidable
from edge.health import Health
from edge.inspector import Judgement
from edge.product import Recipe
from edge.publisher import Publisher
from edge.queues import BoundedQueue, Policy
from edge.verdict import Evaluation, Heartbeat, State, decode
from edge.worker import Worker
from engines.errors import ConfigError


class Station:
    """A publisher that runs, and the queue that feeds it."""

    def __init__(self, recipe: Recipe, endpoint: str) -> None:
        self.health = Health(["top"])
        self.judgements: BoundedQueue[Judgement] = BoundedQueue(1000, Policy.ALL)
        self.publisher = Publisher(
            "cell-7",
            PublishTable(bind=endpoint, heartbeat_s=0.1),
            {"top": recipe},
            self.judgements,
            self.health,
        )
        self.worker = Worker("publisher", self.publisher)

    def finish(self) -> None:
        self.judgements.close()
        self.worker.join(30)


@pytest.fixture
def station(recipe: Recipe, endpoint: str) -> Iterator[Station]:
    station = Station(recipe, endpoint)
    yield station
    station.finish()


@pytest.fixture
def judgement(recipe: Recipe) -> Callable[..., Judgement]:
    """`judgement(frame_id, decision, part_id=None)` of camera `top`."""
    return lambda *about: _judgement(recipe, *about)


def _judgement(recipe: Recipe, frame_id: int, decision: Decision, part_id: str | None = None) -> Judgement:
    now_ns = time.monotonic_ns()
    frame = Frame(frame_id, np.zeros((2, 2), np.uint8), now_ns, time.time(), 1.5, part_id=part_id)
    return Judgement("top", recipe, frame, decision, {"capture": 1.5, "queue": 0.5, "infer": 4.0}, now_ns)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("it did not happen within 30 s")
        time.sleep(0.01)


def test_verdicts_are_numbered_without_a_gap_and_the_last_word_is_stopped(
    station: Station, judgement, listener
) -> None:
    station.worker.start()
    station.health.enter(State.RUNNING)
    wait_for(station.publisher.subscribed.is_set)
    ok, bad = Decision(Evaluation.OK, "", 0.25), Decision(Evaluation.NOT_OK, "too high", 9.5)
    for number in range(1, 101):
        station.judgements.put(judgement(number, bad if number % 10 == 0 else ok, f"{number}.png"))
    station.judgements.put(judgement(101, undecidable("no image")))
    station.finish()

    heard = listener.until(lambda heard: "Stopped" in heard.states)
    assert [v.seq for v in heard.verdicts] == list(range(1, 102))
    assert heard.gaps == []
    assert len({v.session_id for v in heard.verdicts} | {b.session_id for b in heard.heartbeats}) == 1
    last = heard.heartbeats[-1]
    assert (last.state, last.last_seq) == (State.STOPPED, 101)
    assert (last.counters.ok, last.counters.not_ok, last.counters.not_decidable) == (90, 10, 1)


def test_a_verdict_says_what_was_judged_and_by_what(station: Station, judgement, listener, recipe: Recipe) -> None:
    calibration = recipe.calibration
    station.worker.start()
    wait_for(station.publisher.subscribed.is_set)
    station.judgements.put(judgement(5, Decision(Evaluation.NOT_OK, "too high", 9.5), "a.png"))
    station.judgements.put(judgement(6, undecidable("no image")))
    first, second = listener.until(lambda heard: len(heard.verdicts) == 2).verdicts
    assert (first.station, first.frame_id, first.part_id, first.trigger_id) == ("cell-7", 5, "a.png", None)
    assert (first.evaluation, first.reason, first.score) == (Evaluation.NOT_OK, "too high", 9.5)
    assert first.threshold == calibration.threshold
    assert first.margin == pytest.approx(calibration.threshold - 9.5)
    assert first.bundle_digest == recipe.bundle.digest
    assert (first.camera, first.recipe) == ("top", "flange")
    times = first.stage_ms
    assert (times.capture, times.queue, times.infer, times.preprocess) == (1.5, 0.5, 4.0, None)
    assert times.total >= times.publish >= 0
    assert (second.score, second.margin, second.part_id) == (None, None, None)


def test_a_change_of_state_is_told_at_once(recipe: Recipe, endpoint: str, listener) -> None:
    station = Station(recipe, endpoint)
    station.publisher._table = PublishTable(bind=endpoint, heartbeat_s=3600.0)
    station.worker.start()
    wait_for(station.publisher.subscribed.is_set)
    station.health.enter(State.RUNNING)
    station.health.cameras["top"].fault("camera", "unplugged")
    heard = listener.until(lambda heard: "Degraded" in heard.states)
    last = heard.heartbeats[-1]
    assert (last.reason, last.cameras["top"].reason) == ("camera top: unplugged", "unplugged")
    assert last.cameras["top"].recipe == "flange"
    station.finish()


def test_heartbeats_come_without_any_verdict(station: Station, listener) -> None:
    station.worker.start()
    heard = listener.until(lambda heard: len(heard.heartbeats) >= 4)
    assert {beat.last_seq for beat in heard.heartbeats} == {0}
    assert {beat.interval_s for beat in heard.heartbeats} == {0.1}


def test_text_that_json_cannot_carry_does_not_stop_it(station: Station, judgement, listener) -> None:
    station.worker.start()
    wait_for(station.publisher.subscribed.is_set)
    station.judgements.put(judgement(1, undecidable("bad \udcff"), "\udcff.png"))
    (verdict,) = listener.until(lambda heard: heard.verdicts).verdicts
    assert (verdict.part_id, verdict.reason) == ("?.png", "bad ?")


def test_a_late_reader_is_told_the_last_heartbeat_and_verdict_and_an_early_one_nothing_twice(
    recipe: Recipe, judgement, endpoint: str, listener
) -> None:
    station = Station(recipe, endpoint)
    station.publisher._table = PublishTable(bind=endpoint, heartbeat_s=3600.0)
    station.worker.start()
    wait_for(station.publisher.subscribed.is_set)
    for number in (1, 2):
        station.judgements.put(judgement(number, Decision(Evaluation.OK, "", 0.1)))
    early = listener.until(lambda heard: len(heard.verdicts) == 2)
    with Subscriber(endpoint) as late:
        heard = [late.receive(30.0), late.receive(30.0)]
    assert isinstance(heard[0], Heartbeat)
    assert heard[0].last_seq == 2
    assert heard[1] == early.verdicts[1]
    station.finish()
    everything = listener.until(lambda heard: "Stopped" in heard.states)
    assert [v.seq for v in everything.verdicts] == [1, 2]


def test_what_was_sent_is_kept_for_replay(station: Station, judgement, listener) -> None:
    station.worker.start()
    wait_for(station.publisher.subscribed.is_set)
    for number in (1, 2):
        station.judgements.put(judgement(number, Decision(Evaluation.OK, "", 0.1)))
    heard = listener.until(lambda heard: len(heard.verdicts) == 2)
    wait_for(lambda: len(station.publisher.sent.since(1, 2, 1 << 20)[1]) == 2)
    assert [decode(message) for message in station.publisher.sent.since(1, 2, 1 << 20)[1]] == heard.verdicts


def test_a_port_in_use_is_named(recipe: Recipe, endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        other.bind(endpoint)
        with pytest.raises(ConfigError, match=rf"publish.bind: {endpoint} is in use already; stop the other program"):
            Station(recipe, endpoint).worker.start()


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:5555", "tcp://nonsense", "ipc:///nowhere/at/all"])
def test_an_impossible_address_is_named(recipe: Recipe, address: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on {address}"):
        Station(recipe, address).worker.start()


def test_a_session_goes_on_after_a_restart_of_the_worker(station: Station, judgement, listener) -> None:
    station.worker.start()
    wait_for(station.publisher.subscribed.is_set)
    station.judgements.put(judgement(1, Decision(Evaluation.OK, "", 0.1)))
    listener.until(lambda heard: heard.verdicts)
    station.worker.stop(30)
    station.judgements.put(judgement(2, Decision(Evaluation.OK, "", 0.1)))
    station.publisher.subscribed.clear()
    station.worker.start()
    heard = listener.until(lambda heard: any(beat.last_seq == 2 for beat in heard.heartbeats))
    assert len({beat.session_id for beat in heard.heartbeats}) == 1
    # The subscriber reconnects after the verdict is out, and sees that it missed it; or it is there in time.
    assert len(heard.verdicts) + sum(gap.last - gap.first + 1 for gap in heard.gaps) == 2
