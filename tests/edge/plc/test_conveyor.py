from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.plc.conveyor import NO_VERDICT, Conveyor, Opinion, Ruling
from edge.verdict import Evaluation

OK, NOT_OK, NOT_DECIDABLE = Evaluation.OK, Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE
TRAVEL, MARGIN = 100.0, 10.0


def conveyor(*cameras: str) -> Conveyor:
    return Conveyor(cameras or ("top",), TRAVEL, MARGIN)


def released(belt: Conveyor, position: float) -> dict[int, bool]:
    return {gone.ruling.number: gone.ruling.released for gone in belt.leaving(position)}


@pytest.mark.parametrize(
    ("told", "passes"),
    [
        ([], False),
        ([("top", OK)], False),
        ([("top", OK), ("top", OK)], False),
        ([("top", OK), ("side", OK)], True),
        ([("side", OK), ("top", OK)], True),
        ([("top", OK), ("side", NOT_OK)], False),
        ([("top", OK), ("side", NOT_DECIDABLE)], False),
        ([("top", NOT_OK), ("top", OK), ("side", OK)], False),
        ([("top", OK), ("side", OK), ("top", NOT_OK)], False),
        ([("top", OK), ("stranger", OK)], False),
    ],
)
def test_a_part_passes_when_every_camera_has_said_ok_and_none_anything_else(
    told: list[tuple[str, Evaluation]], passes: bool
) -> None:
    belt = conveyor("top", "side")
    belt.enter(7, 0.0)
    for camera, evaluation in told:
        belt.judge(Opinion(7, camera, evaluation))
    assert released(belt, TRAVEL) == {7: passes}


def test_a_part_without_a_verdict_is_ruled_on_before_it_reaches_the_ejector() -> None:
    belt = conveyor()
    belt.enter(1, 0.0)
    assert belt.next_position == TRAVEL - MARGIN
    assert belt.overdue(TRAVEL - MARGIN - 1) == []
    assert belt.overdue(TRAVEL - MARGIN) == [Ruling(1, NOT_DECIDABLE, NO_VERDICT)]
    assert belt.overdue(TRAVEL - MARGIN + 1) == []
    assert belt.judge(Opinion(1, "top", OK)) is None
    assert belt.next_position == TRAVEL
    assert released(belt, TRAVEL) == {1: False}
    assert belt.next_position is None


def test_a_number_that_is_on_the_belt_already_condemns_both_parts() -> None:
    belt = conveyor()
    belt.enter(1, 0.0)
    belt.judge(Opinion(1, "top", OK))
    belt.enter(1, 50.0)
    belt.judge(Opinion(1, "top", OK))
    assert [gone.ruling.released for gone in belt.leaving(1000.0)] == [False, False]
    assert 1 not in belt


def test_parts_leave_in_the_order_of_their_positions_however_they_were_told_of() -> None:
    belt = conveyor()
    for number, position in ((1, 0.0), (3, 20.0), (2, 10.0)):
        belt.enter(number, position)
    assert [gone.ruling.number for gone in belt.leaving(TRAVEL + 10)] == [1, 2]
    assert [(gone.ruling.number, gone.position) for gone in belt.leaving(TRAVEL + 20)] == [(3, TRAVEL + 20)]


def test_condemning_all_changes_only_what_would_have_passed() -> None:
    belt = conveyor()
    for number, evaluation in ((1, OK), (2, NOT_OK)):
        belt.enter(number, number)
        belt.judge(Opinion(number, "top", evaluation))
    belt.enter(3, 3.0)
    assert [ruling.number for ruling in belt.condemn_all("lost")] == [1, 3]
    belt.clear()
    assert len(belt) == 0
    assert belt.leaving(1e9) == []


def test_a_belt_that_nobody_looks_at_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one camera"):
        Conveyor((), TRAVEL, MARGIN)


events = st.lists(
    st.one_of(
        st.tuples(st.just("move"), st.integers(0, 60)),
        st.just(("enter", 0)),
        st.tuples(
            st.just("tell"),
            st.tuples(
                st.integers(0, 12), st.sampled_from(["top", "side", "stranger"]), st.sampled_from(list(Evaluation))
            ),
        ),
    ),
    max_size=120,
)


@given(events)
def test_whatever_happens_no_part_passes_that_was_not_vouched_for_and_none_is_swapped(
    history: list[tuple[str, object]],
) -> None:
    belt, position, entered = conveyor("top", "side"), 0.0, 0
    places: dict[int, float] = {}
    said: dict[int, list[tuple[float, str, Evaluation]]] = {}
    gone: list[tuple[float, Ruling]] = []
    for what, detail in history:
        if what == "move":
            position += detail  # type: ignore[operator]
        elif what == "enter":
            entered += 1
            places[entered] = position
            belt.enter(entered, position)
        else:
            number, camera, evaluation = detail  # type: ignore[misc]
            belt.judge(Opinion(number, camera, evaluation))
            if number in places:
                said.setdefault(number, []).append((position, camera, evaluation))
        belt.overdue(position)
        gone += [(position, departure.ruling) for departure in belt.leaving(position)]
    gone += [(position + TRAVEL, departure.ruling) for departure in belt.leaving(position + TRAVEL)]

    assert [ruling.number for _, ruling in gone] == sorted(places)
    for at, ruling in gone:
        arrival = places[ruling.number] + TRAVEL
        assert at >= arrival
        words = [(when, camera, e) for when, camera, e in said.get(ruling.number, []) if camera != "stranger"]
        vouched = {camera for when, camera, e in words if e is OK and when < arrival - MARGIN}
        against = any(e is not OK for when, _, e in words if when < arrival)
        assert ruling.released == (vouched == {"top", "side"} and not against)
