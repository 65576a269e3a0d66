from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zmq

from edge.cameras.camera import Frame
from edge.client import SilenceError, Subscriber
from edge.config import PublishTable, SecurityTable
from edge.decision import Decision, undecidable
from edge.health import Health
from edge.inspector import Judgement
from edge.keys import KeyFolder, Role
from edge.product import Recipe
from edge.publisher import Publisher
from edge.queues import BoundedQueue, Policy
from edge.requests import Refused, ReplayRequest
from edge.verdict import Evaluation, Heartbeat, State, Verdict, decode
from edge.worker import Worker
from engines.errors import ConfigError

LOCAL = SecurityTable()


class Station:
    """A publisher that runs, and the queue that feeds it."""

    def __init__(self, recipe: Recipe, endpoint: str, security: SecurityTable = LOCAL) -> None:
        self.health = Health(["top"])
        self.judgements: BoundedQueue[Judgement] = BoundedQueue(1000, Policy.ALL)
        self.publisher = Publisher(
            "cell-7",
            PublishTable(bind=endpoint, heartbeat_s=0.1),
            security,
            lambda: {"top": recipe},
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
        assert late.receive(30.0) == early.verdicts[1]
        heartbeat = late.receive(30.0)
    assert isinstance(heartbeat, Heartbeat)
    assert heartbeat.last_seq == 2
    station.finish()
    everything = listener.until(lambda heard: "Stopped" in heard.states)
    assert [v.seq for v in everything.verdicts] == [1, 2]


def test_what_was_sent_is_kept_for_replay(station: Station, judgement, listener) -> None:
    station.worker.start()
    wait_for(station.publisher.subscribed.is_set)
    for number in (1, 2):
        station.judgements.put(judgement(number, Decision(Evaluation.OK, "", 0.1)))
    heard = listener.until(lambda heard: len(heard.verdicts) == 2)
    mine = ReplayRequest(session_id=station.publisher.session_id, first=1, last=9)
    wait_for(lambda: len(station.publisher.replay(mine).verdicts) == 2)
    assert [decode(bytes(raw)) for raw in station.publisher.replay(mine).verdicts] == heard.verdicts
    other = station.publisher.replay(ReplayRequest(session_id="another", first=1, last=9))
    assert isinstance(other, Refused)
    assert "of an earlier one nothing is kept" in other.reason


def test_a_port_in_use_is_named(recipe: Recipe, endpoint: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        other.bind(endpoint)
        with pytest.raises(ConfigError, match=rf"publish.bind: {endpoint} is in use already; stop the other program"):
            Station(recipe, endpoint).worker.start()


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:5555", "tcp://nonsense", "ipc:///nowhere/at/all"])
def test_an_impossible_address_is_named(recipe: Recipe, address: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot listen on {address}"):
        Station(recipe, address, SecurityTable(allow_plain=True)).worker.start()


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


def test_a_revoked_client_is_cut_off_and_the_others_miss_nothing(
    recipe: Recipe, judgement, endpoint: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = KeyFolder(tmp_path / "keys")
    for name in ("panel", "gone"):
        folder.new_client(name, Role.READ, tmp_path / f"{name}.key")
    station = Station(recipe, endpoint, SecurityTable(keys=folder.path))
    station.worker.start()
    with (
        Subscriber(endpoint, key=tmp_path / "panel.key") as panel,
        Subscriber(endpoint, key=tmp_path / "gone.key") as gone,
    ):
        assert isinstance(panel.receive(30.0), Heartbeat)
        assert isinstance(gone.receive(30.0), Heartbeat)
        folder.revoke("gone")
        wait_for(lambda: "every subscriber has to connect again" in caplog.text)
        station.judgements.put(judgement(1, Decision(Evaluation.OK, "", 0.1)))
        while not isinstance(message := panel.receive(30.0), Verdict):
            assert message is not None
        assert message.seq == 1
        with pytest.raises(SilenceError):
            _beats_without_verdict(gone)
    station.finish()


def _beats_without_verdict(subscriber: Subscriber) -> None:
    while message := subscriber.receive(30.0):
        assert isinstance(message, Heartbeat)
        assert message.last_seq == 0
