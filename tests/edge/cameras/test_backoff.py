from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.cameras.backoff import Backoff


@pytest.mark.parametrize(
    ("first_s", "longest_s", "pauses"),
    [(0.5, 3.0, [0.5, 1.0, 2.0, 3.0, 3.0]), (1.0, 1.0, [1.0, 1.0]), (5.0, 2.0, [2.0, 2.0])],
)
def test_pauses_double_up_to_the_cap_less_a_fifth_at_most(
    first_s: float, longest_s: float, pauses: list[float]
) -> None:
    backoff = Backoff(first_s, longest_s)
    for pause_s in pauses:
        assert 0.8 * pause_s <= backoff.next() <= pause_s


@given(first_s=st.floats(0.001, 100), longest_s=st.floats(0.001, 100), failures=st.integers(0, 2000))
def test_no_number_of_failures_exceeds_the_cap_and_success_begins_anew(
    first_s: float, longest_s: float, failures: int
) -> None:
    backoff = Backoff(first_s, longest_s)
    assert all(0 < backoff.next() <= longest_s for _ in range(failures))
    backoff.reset()
    assert backoff.next() <= first_s


def test_two_stations_do_not_knock_together() -> None:
    first, second = Backoff(1.0, 8.0), Backoff(1.0, 8.0)
    assert [first.next() for _ in range(6)] != [second.next() for _ in range(6)]
