from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from calibration.tail import tail_threshold, within_reach


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.2])
@pytest.mark.parametrize("rate", [0.01, 0.001])
def test_many_scores_find_the_quantile_of_their_law(shape: float, rate: float) -> None:
    scores = stats.genpareto.rvs(shape, size=200_000, random_state=1).astype(np.float32)
    assert tail_threshold(scores, rate) == pytest.approx(stats.genpareto.isf(rate, shape), rel=0.03)


@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_units_of_the_score_do_not_matter(seed: int, scale: float, shift: float) -> None:
    scores = np.random.default_rng(seed).gumbel(size=80)
    plain = tail_threshold(scores.astype(np.float32), 0.005)
    moved = tail_threshold((shift + scale * scores).astype(np.float32), 0.005)
    assert moved == pytest.approx(shift + scale * plain, rel=1e-3, abs=1e-3 * scale + 1e-4)


def test_scores_that_are_all_alike_have_no_tail() -> None:
    assert tail_threshold(np.full(60, 0.5, np.float32), 0.001) == 0.5


@pytest.mark.parametrize(
    ("parts", "rate", "expected"),
    [(50, 0.01, True), (49, 0.01, False), (50, 0.004, True), (50, 0.003, False), (200, 0.001, True)],
)
def test_reach_is_five_times_beyond_what_parts_certify(parts: float, rate: float, expected: bool) -> None:
    assert within_reach(parts, rate) is expected
