from __future__ import annotations

import pytest

from edge.sequence import SequenceWatch, Silence
from edge.verdict import Heartbeat, State, Verdict
from tests.edge.messages import beat, verdict


@pytest.mark.parametrize(
    ("messages", "missing"),
    [
        ([verdict(1), verdict(2), beat(2), verdict(3)], []),
        ([verdict(1), verdict(4)], [(2, 3)]),
        ([beat(0), verdict(1), beat(3)], [(2, 3)]),
        ([verdict(1), beat(3), verdict(4)], [(2, 3)]),
        ([verdict(40), verdict(41)], []),
        ([beat(40), verdict(41)], []),
        ([beat(40), verdict(42)], [(41, 41)]),
        ([verdict(5), verdict(1, "s2"), verdict(2, "s2")], []),
        ([verdict(5), verdict(3, "s2")], [(1, 2)]),
        ([verdict(5), beat(2, "s2")], [(1, 2)]),
        ([verdict(1), verdict(1, station="b"), verdict(2), verdict(3, station="b")], [(2, 2)]),
        ([verdict(1), verdict(2), verdict(2), verdict(3)], []),
    ],
)
def test_what_was_sent_and_never_came_is_told(
    messages: list[Verdict | Heartbeat], missing: list[tuple[int, int]]
) -> None:
    watch = SequenceWatch()
    gaps = [watch.note(message, now=0.0) for message in messages]
    assert [(gap.first, gap.last) for gap in gaps if gap] == missing


def test_silence_is_three_intervals_without_a_heartbeat_and_told_once() -> None:
    watch = SequenceWatch()
    watch.note(beat(0), now=100.0)
    watch.note(verdict(1), now=102.9)
    assert watch.silent(103.0) == []
    assert watch.silent(103.1) == [Silence("a", pytest.approx(3.1))]
    assert watch.silent(200.0) == []
    watch.note(beat(1), now=201.0)
    assert watch.silent(203.0) == []
    assert [silence.station for silence in watch.silent(204.5)] == ["a"]


def test_a_station_that_said_stopped_owes_nothing() -> None:
    watch = SequenceWatch()
    watch.note(beat(0, state=State.STOPPED), now=0.0)
    assert watch.silent(100.0) == []


def test_a_verdict_that_is_known_is_repeated_but_not_in_another_session() -> None:
    watch = SequenceWatch()
    assert not watch.repeated(verdict(3))
    watch.note(verdict(3), now=0.0)
    assert watch.repeated(verdict(3))
    assert watch.repeated(verdict(2))
    assert not watch.repeated(verdict(4))
    assert not watch.repeated(verdict(3, session="s2"))
    assert not watch.repeated(verdict(3, station="b"))
    assert not watch.repeated(beat(3))


def test_the_last_verdict_told_to_a_new_reader_is_not_repeated_though_the_heartbeat_named_it() -> None:
    watch = SequenceWatch()
    watch.note(beat(5), now=0.0)
    assert watch.repeated(verdict(4))
    assert not watch.repeated(verdict(5))
    assert watch.note(verdict(5), now=0.0) is None
    assert watch.repeated(verdict(5))
    assert watch.note(verdict(6), now=0.0) is None
