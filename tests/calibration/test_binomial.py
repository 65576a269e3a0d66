from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from calibration.binomial import proportion_interval, rate_bound

CONFIDENCES = st.sampled_from([0.9, 0.95, 0.99])


@given(parts=st.integers(1, 3000), above=st.integers(0, 40), confidence=CONFIDENCES)
@settings(max_examples=50)
def test_bound_is_the_beta_quantile(parts: int, above: int, confidence: float) -> None:
    assume(above < parts)
    expected = stats.beta.ppf(confidence, above + 1, parts - above)
    assert rate_bound(parts, above, confidence) == pytest.approx(expected, rel=1e-7)


@given(trials=st.integers(1, 400), share=st.floats(0, 1), confidence=CONFIDENCES)
@settings(max_examples=50)
def test_interval_is_clopper_and_pearsons(trials: int, share: float, confidence: float) -> None:
    hits = round(share * trials)
    expected = stats.binomtest(hits, trials).proportion_ci(confidence, method="exact")
    assert proportion_interval(hits, trials, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_escape_among_twenty_still_allows_a_seventh() -> None:
    assert rate_bound(20, 0) == pytest.approx(1 - 0.05 ** (1 / 20))
