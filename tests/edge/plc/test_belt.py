from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.plc.belt import EncoderBelt, TimedBelt


def test_a_timed_belt_is_the_clock() -> None:
    assert (TimedBelt().position(3.5), TimedBelt().moment(7.0, now=3.5)) == (3.5, 7.0)


def test_an_encoder_belt_goes_on_between_readings_and_says_when_it_arrives() -> None:
    belt = EncoderBelt()
    for step in range(5):
        belt.note(1000 + 10 * step, now=step * 0.01)
    assert belt.position(0.045) == pytest.approx(1045)
    assert belt.moment(1100, now=0.04) == pytest.approx(0.10)
    assert belt.moment(1030, now=0.04) == pytest.approx(0.03)


def test_a_standing_belt_never_arrives() -> None:
    belt = EncoderBelt()
    for step in range(5):
        belt.note(1000, now=step * 0.1)
    assert (belt.position(9.0), belt.moment(1001, now=0.5)) == (1000, math.inf)


def test_a_belt_without_a_reading_has_moved_nothing() -> None:
    assert EncoderBelt().position(1.0) == -math.inf
    assert EncoderBelt().moment(5.0, now=1.0) == math.inf


def test_a_belt_whose_readings_have_ended_is_not_believed_to_run_for_ever() -> None:
    belt = EncoderBelt()
    belt.note(0, now=0.0)
    belt.note(100, now=0.1)
    assert belt.position(1000.0) == pytest.approx(300)


@given(st.sampled_from([8, 16, 32]), st.integers(0, 2**32), st.lists(st.integers(-100, 127), max_size=60))
def test_positions_follow_the_counter_around_its_end_and_backwards(bits: int, start: int, steps: list[int]) -> None:
    belt, true = EncoderBelt(bits), start
    first = belt.note(true % 2**bits, now=0.0)
    for index, step in enumerate(steps):
        true += step
        assert belt.note(true % 2**bits, now=0.01 * (index + 1)) - first == true - start
