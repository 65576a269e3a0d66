from __future__ import annotations

from edge.plc.conveyor import Opinion
from edge.plc.early import EarlyOpinions
from edge.verdict import Evaluation


def opinion(number: int, camera: str = "top") -> Opinion:
    return Opinion(number, camera, Evaluation.OK)


def test_what_came_before_its_part_is_handed_out_once_in_order() -> None:
    early = EarlyOpinions(patience_s=1.0)
    for each in (opinion(5), opinion(6), opinion(5, "side")):
        assert early.keep(each, now=0.0) == []
    assert early.take(5, now=0.5) == [opinion(5), opinion(5, "side")]
    assert early.take(5, now=0.5) == []
    assert early.expire(now=1.0) == [opinion(6)]


def test_an_old_word_finds_no_new_part() -> None:
    early = EarlyOpinions(patience_s=1.0)
    early.keep(opinion(5), now=0.0)
    assert early.take(5, now=1.0) == []


def test_a_flood_gives_way_oldest_first() -> None:
    early = EarlyOpinions(patience_s=1.0, capacity=2)
    assert [early.keep(opinion(number), now=0.0) for number in (1, 2, 3)] == [[], [], [opinion(1)]]
