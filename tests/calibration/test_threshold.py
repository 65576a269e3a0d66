from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import stats

from calibration import threshold as rule
from calibration.threshold import conformal_threshold, parts_above, parts_needed, rate_bound
from engines.errors import CalibrationError

# Rates as a person writes them: a few decimals, so that (N + 1)(1 - rate) is often a whole number.
RATES = st.integers(1, 9999).map(lambda tenths: tenths / 10000)
LARGE = 2.0**100
FLOATS = st.floats(-LARGE, LARGE, width=32, allow_subnormal=False)
SCORES = st.lists(FLOATS, min_size=1, max_size=300)


def exact_rank(parts: int, rate: float) -> int:
    """k = ceil((N + 1)(1 - p)) in whole numbers of ten thousandths."""
    p = Fraction(round(rate * 10000), 10000)
    return math.ceil((parts + 1) * (1 - p))


@given(parts=st.integers(1, 5000), rate=RATES)
@example(parts=19, rate=0.05)
@example(parts=99, rate=0.07)
@example(parts=99, rate=0.01)
@example(parts=999, rate=0.001)
def test_rank_is_exact_where_floating_point_is_not(parts: int, rate: float) -> None:
    assert parts - parts_above(parts, rate) == min(exact_rank(parts, rate), parts)


def test_the_naive_formula_does_go_wrong() -> None:
    wrong = [
        (parts, cents)
        for parts in range(1, 200)
        for cents in range(1, 100)
        if math.ceil((parts + 1) * (1 - cents / 100)) != exact_rank(parts, cents / 100)
    ]
    assert wrong


@given(scores=SCORES, rate=RATES)
def test_threshold_is_a_score_that_leaves_at_most_the_rate_above(scores: list[float], rate: float) -> None:
    result = conformal_threshold(scores, rate)
    array = np.asarray(scores, np.float32)
    above = int(np.sum(array > result.value))
    assert result.value in array.astype(np.float64)
    assert above <= parts_above(len(scores), rate)
    if parts_needed(rate) <= len(scores):
        assert result.certified_rate <= Fraction(round(rate * 10000), 10000)
        assert above + 1 <= rate * (len(scores) + 1) * (1 + 1e-12)
    else:
        assert result.value == array.max()
        assert above == 0
        assert result.certified_rate == 1 / (len(scores) + 1)


@given(scores=SCORES, rate=RATES, seed=st.integers(0, 9))
def test_order_of_the_parts_does_not_matter(scores: list[float], rate: float, seed: int) -> None:
    shuffled = np.random.default_rng(seed).permutation(np.asarray(scores, np.float32))
    assert conformal_threshold(shuffled, rate) == conformal_threshold(scores, rate)


@given(scores=SCORES, first=RATES, second=RATES)
def test_a_stricter_rate_never_lowers_the_threshold(scores: list[float], first: float, second: float) -> None:
    strict, loose = sorted((first, second))
    assert conformal_threshold(scores, strict).value >= conformal_threshold(scores, loose).value


@given(score=FLOATS)
def test_a_part_that_scores_the_threshold_passes_in_either_precision(score: float) -> None:
    value = conformal_threshold([score], 0.01).value
    same = np.float32(score)
    assert not bool(same > value)
    assert not float(same) > value
    assert bool(np.nextafter(same, np.float32(np.inf)) > value)


def test_float64_scores_are_stored_as_the_daemon_sees_them() -> None:
    value = conformal_threshold([0.1], 0.5).value
    assert value == float(np.float32(0.1)) != 0.1


def test_ties_at_the_threshold_pass() -> None:
    scores = [1.0] * 90 + [2.0] * 10
    result = conformal_threshold(scores, 0.05)
    assert result.value == 2.0
    assert sum(score > result.value for score in scores) == 0


@pytest.mark.parametrize(
    ("parts", "rate", "value", "certified"),
    [
        (1, 0.01, 1, 1 / 2),
        (1, 0.5, 1, 1 / 2),
        (18, 0.05, 18, 1 / 19),
        (19, 0.05, 19, 1 / 20),
        (20, 0.05, 20, 1 / 21),
        (39, 0.05, 38, 2 / 40),
        (98, 0.01, 98, 1 / 99),
        (99, 0.01, 99, 1 / 100),
        (199, 0.01, 198, 2 / 200),
        (10, 0.999999, 1, 10 / 11),
    ],
)
def test_known_ranks(parts: int, rate: float, value: float, certified: float) -> None:
    result = conformal_threshold(np.arange(1, parts + 1), rate)
    assert (result.value, result.parts) == (value, parts)
    assert result.certified_rate == pytest.approx(certified, rel=1e-12)


@pytest.mark.parametrize(
    ("scores", "rate", "message"),
    [
        ([], 0.01, "found none"),
        ([[1.0]], 0.01, "found none"),
        ([1.0, math.nan], 0.01, r"1 of 2 scores are not finite \(the first is part 2"),
        ([math.inf, 1.0], 0.01, "not finite"),
        ([1e300], 0.01, "not finite"),
        ([1.0], 0.0, "between 0 and 1"),
        ([1.0], 1, r"1 % is 0.01\), found 1"),
        ([1.0], -0.5, "between 0 and 1"),
        ([1.0], math.nan, "between 0 and 1"),
    ],
)
def test_refusals(scores: list[float], rate: float, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        conformal_threshold(scores, rate)


@pytest.mark.parametrize(
    ("parts", "rate", "sentences"),
    [
        (1, 0.01, ["certifies next to nothing", "every second good part", "98 more good parts (99 in all)"]),
        (
            24,
            0.01,
            [
                "24 good parts are too few for the target of 1 %",
                "at most 4 %",
                "75 more good parts (99 in all)",
            ],
        ),
        (98, 0.01, ["1 more good part (99 in all)"]),
        (99, 0.01, ["99 good parts certify the target of 1 %", "at most 1 % of good parts", "2.98 %"]),
        (300, 0.02, ["at most 1.99 % of good parts", "the target of 2 %"]),
    ],
)
def test_guarantee_says_what_is_certified(parts: int, rate: float, sentences: list[str]) -> None:
    guarantee = conformal_threshold(np.arange(parts), rate).guarantee
    for sentence in sentences:
        assert sentence in guarantee


@given(rate=RATES)
def test_parts_needed_is_the_smallest_number_that_certifies(rate: float) -> None:
    needed = max(parts_needed(rate), 1)
    assert conformal_threshold(np.arange(needed), rate).certified_rate <= rate * (1 + 1e-12)
    if needed > 1:
        assert conformal_threshold(np.arange(needed - 1), rate).certified_rate > rate


@given(parts=st.integers(1, 3000), above=st.integers(0, 40), confidence=st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=50)
def test_bound_is_the_beta_quantile(parts: int, above: int, confidence: float) -> None:
    assume(above < parts)
    expected = stats.beta.ppf(confidence, above + 1, parts - above)
    assert rate_bound(parts, above, confidence) == pytest.approx(expected, rel=1e-7)


def bumpy(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A second, rare mode far out, as a second supplier makes it."""
    return rng.normal(size=size) + 6.0 * (rng.random(size) < 0.05)


LAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "gumbel": lambda rng, size: rng.gumbel(size=size),
    "lognormal": lambda rng, size: rng.lognormal(sigma=1.0, size=size),
    "cauchy": lambda rng, size: rng.standard_cauchy(size=size),
    "two modes": bumpy,
    "few distinct values": lambda rng, size: rng.poisson(2.0, size=size).astype(float),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("parts", "rate"), [(24, 0.01), (99, 0.01), (150, 0.05)])
def test_realised_rates_keep_the_promise(law: str, parts: int, rate: float) -> None:
    rng = np.random.default_rng(20)
    draws, fresh = 1500, 400
    calibration = LAWS[law](rng, (draws, parts)).astype(np.float32)
    production = LAWS[law](rng, (draws, fresh)).astype(np.float32)
    ordered = np.sort(calibration, axis=1)
    rank = parts - parts_above(parts, rate)
    rates = np.mean(production > ordered[:, rank - 1 : rank], axis=1)
    promise = conformal_threshold(calibration[0], rate)
    assert promise.value == ordered[0, rank - 1]
    # Four standard errors of the mean over the draws.
    slack = 4 * rates.std() / math.sqrt(draws)
    assert rates.mean() <= promise.certified_rate + slack
    if law not in ("few distinct values",):  # ties only make the rule stricter
        assert rates.mean() >= promise.certified_rate - slack


@pytest.mark.parametrize("law", ["normal", "lognormal", "two modes"])
def test_one_threshold_in_twenty_may_exceed_its_bound(law: str) -> None:
    rng = np.random.default_rng(21)
    draws, parts = 2000, 60
    calibration = LAWS[law](rng, (draws, parts))
    population = np.sort(LAWS[law](rng, (1, 400_000)).ravel())
    rates = 1 - np.searchsorted(population, calibration.max(axis=1), side="right") / population.size
    exceeded = np.mean(rates > conformal_threshold(calibration[0], 0.01).bound)
    assert 0.03 < exceeded < 0.07


def test_mean_and_three_sigma_breaks_the_promise_that_the_rule_keeps() -> None:
    rng = np.random.default_rng(22)
    calibration, production = rng.lognormal(size=(400, 1000)), rng.lognormal(size=(400, 1000))
    three_sigma = calibration.mean(axis=1) + 3.0902 * calibration.std(axis=1)  # 0.1 % of a normal law
    conformal = [conformal_threshold(row, 0.001).value for row in calibration]
    assert np.mean(production > three_sigma[:, None]) > 0.01
    assert np.mean(production > np.asarray(conformal)[:, None]) < 0.0015


def test_explanation_lists_what_each_number_of_parts_certifies() -> None:
    table = rule.explain((1, 99))
    assert "| 1 | 50 % | 95 % |" in table
    assert "| 99 | 1 % | 2.98 % |" in table
