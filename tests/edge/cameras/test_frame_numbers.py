from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.frame_numbers import FrameNumbers

GIGE = 65535


@pytest.mark.parametrize(
    ("cycle", "numbers", "found"),
    [
        (GIGE, [65534, 65535, 1, 2], [(65534, 0), (65535, 0), (65536, 0), (65537, 0)]),
        (GIGE, [65535, 2], [(65535, 0), (65537, 1)]),
        (GIGE, [65430, 65462], [(65430, 0), (65462, 31)]),
        (GIGE, [5, 4, 6], [(5, 0), (4, 0), (6, 0)]),
        (GIGE, [1, 65535, 2], [(1, 0), (0, 0), (2, 0)]),
        (0, [0, 1, 70_000], [(0, 0), (1, 0), (70_000, 69_998)]),
        (0, [65535, 1], [(65535, 0), (1, 0)]),
    ],
)
def test_numbers_begin_again_and_gaps_show(cycle: int, numbers: list[int], found: list[tuple[int, int]]) -> None:
    unwrapping = FrameNumbers(cycle)
    assert [unwrapping.unwrap(number) for number in numbers] == found


@given(start=st.integers(0, GIGE - 1), steps=st.lists(st.integers(1, GIGE // 2), max_size=50))
def test_no_loss_of_less_than_half_a_cycle_is_overlooked(start: int, steps: list[int]) -> None:
    unwrapping = FrameNumbers(GIGE)
    true = start
    number, missed = unwrapping.unwrap(true % GIGE + 1)
    offset = number - true
    for step in steps:
        true += step
        number, missed = unwrapping.unwrap(true % GIGE + 1)
        assert (number - offset, missed) == (true, step - 1)
