from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calibration.lottery import drawn

KEYS = st.integers(0, 2**53)
SHARES = st.floats(0, 1)


@given(key=KEYS, few=SHARES, many=SHARES)
def test_a_larger_share_draws_all_that_a_smaller_one_does(key: int, few: float, many: float) -> None:
    few, many = sorted((few, many))
    assert drawn(key, many) or not drawn(key, few)


@given(key=KEYS)
def test_all_or_none(key: int) -> None:
    assert drawn(key, 1.0)
    assert not drawn(key, 0.0)


def test_the_share_is_met_for_keys_in_a_row() -> None:
    assert abs(sum(drawn(key << 10, 0.05) for key in range(20_000)) / 20_000 - 0.05) < 0.006
