from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibration import threshold as rule
from calibration.threshold import (
    Goal,
    conformal_threshold,
    parts_above,
    parts_needed,
    set_threshold,
    tolerance_above,
    tolerance_threshold,
)
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


@given(rate=RATES)
def test_parts_needed_is_the_smallest_number_that_certifies(rate: float) -> None:
    needed = max(parts_needed(rate), 1)
    assert conformal_threshold(np.arange(needed), rate).certified_rate <= rate * (1 + 1e-12)
    if needed > 1:
        assert conformal_threshold(np.arange(needed - 1), rate).certified_rate > rate


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


GOALS = {
    "conformal, exact": (99, Goal(0.01)),
    "conformal, several above": (150, Goal(0.05)),
    "conformal, too few": (24, Goal(0.01, certified_only=True)),
    "tolerance": (299, Goal(0.01, 0.95)),
    "tolerance, several above": (600, Goal(0.01, 0.95)),
    "tolerance, too few": (60, Goal(0.01, 0.95, certified_only=True)),
}
DRAWS = 2000


def realised(law: str, thresholds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of a large population that each threshold rejects."""
    population = np.sort(LAWS[law](rng, (1, 400_000)).ravel().astype(np.float32))
    return 1 - np.searchsorted(population, thresholds, side="right") / population.size


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("goal", GOALS)
def test_realised_rates_keep_the_promise(law: str, goal: str) -> None:
    parts, asked = GOALS[goal]
    rng = np.random.default_rng(20)
    scores = LAWS[law](rng, (DRAWS, parts)).astype(np.float32)
    promise = set_threshold(scores[0], asked)
    above = parts_above(parts, 0.05 if parts == 150 else 0.01)
    if asked.confidence:
        above = tolerance_above(parts, asked.false_reject_rate, asked.confidence)
    thresholds = np.sort(scores, axis=1)[:, parts - 1 - above]
    assert promise.value == thresholds[0]
    rates = realised(law, thresholds, rng)
    if asked.confidence:
        assert np.mean(rates > promise.certified_rate) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / DRAWS)
    else:
        slack = 4 * rates.std() / math.sqrt(DRAWS)
        assert rates.mean() <= promise.certified_rate + slack
        if law != "few distinct values":  # ties only make the rule stricter
            assert rates.mean() >= promise.certified_rate - slack
        assert promise.bound is not None
        assert np.mean(rates > promise.bound) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / DRAWS)


def in_lots(rng: np.random.Generator, draws: int, lots: int, parts: int, between: float = 1.0) -> np.ndarray:
    """Scores `(draws, lots, parts)`: each lot is shifted by about `between`."""
    return rng.gumbel(size=(draws, lots, parts)) + between * rng.normal(size=(draws, lots, 1))


@pytest.mark.parametrize("confidence", [None, 0.95])
@pytest.mark.parametrize(("lots", "rate"), [(30, 0.1), (12, 0.1), (12, 0.05)])
def test_lots_keep_the_promise_for_a_lot_not_seen_yet(lots: int, rate: float, confidence: float | None) -> None:
    rng = np.random.default_rng(23)
    size, draws = 8, 1000
    names = [str(lot) for lot in range(lots) for _ in range(size)]
    fresh = np.sort(in_lots(rng, 20_000, 1, size).ravel())
    found = [
        tolerance_threshold(row.ravel(), rate, confidence, names)
        if confidence
        else conformal_threshold(row.ravel(), rate, names)
        for row in in_lots(rng, draws, lots, size)
    ]
    rates = 1 - np.searchsorted(fresh, [one.value for one in found], side="right") / fresh.size
    if confidence:
        assert np.mean(rates > found[0].certified_rate) < 0.05 + 4 * math.sqrt(0.05 * 0.95 / draws)
    else:
        certified = np.mean([one.certified_rate for one in found])
        assert rates.mean() <= certified + 4 * rates.std() / math.sqrt(draws)


def test_without_lots_the_promise_breaks_where_lots_differ() -> None:
    rng = np.random.default_rng(24)
    fresh = np.sort(in_lots(rng, 20_000, 1, 20, between=4.0).ravel())
    values = [conformal_threshold(row.ravel(), 0.01).value for row in in_lots(rng, 400, 5, 20, between=4.0)]
    assert np.mean(1 - np.searchsorted(fresh, values, side="right") / fresh.size) > 0.05


def test_an_estimate_lies_beyond_the_largest_score_and_marks_the_band_for_review() -> None:
    scores = np.random.default_rng(27).gumbel(size=60)
    estimate, certified = (set_threshold(scores, Goal(0.01, certified_only=only)) for only in (False, True))
    assert (estimate.method, certified.method) == ("tail", "conformal")
    assert estimate.review_above == certified.value < estimate.value
    assert estimate.value == float(np.float32(estimate.value))
    assert estimate.certified_rate == certified.certified_rate == 1 / 61
    assert estimate.missing == 39
    assert estimate.interval is not None
    assert estimate.interval[0] <= estimate.value <= estimate.interval[1]


@pytest.mark.parametrize(("parts", "rate"), [(49, 0.01), (150, 0.001), (24, 0.04), (99, 0.01)])
def test_no_estimate_where_it_would_be_worthless_or_is_not_needed(parts: int, rate: float) -> None:
    scores = np.random.default_rng(26).gumbel(size=parts)
    threshold = set_threshold(scores, Goal(rate))
    assert (threshold.method, threshold.value) == ("conformal", float(np.float32(scores.max())))
    assert threshold.review_above is None


@given(scores=st.lists(FLOATS, min_size=50, max_size=120), rate=st.sampled_from([0.001, 0.005, 0.01, 0.05]))
def test_an_estimate_never_undercuts_what_is_certified(scores: list[float], rate: float) -> None:
    threshold = set_threshold(scores, Goal(rate))
    assert threshold.value >= conformal_threshold(scores, rate).value
    assert threshold.certified_rate == conformal_threshold(scores, rate).certified_rate
    assert math.isfinite(threshold.value)


def test_review_begins_where_its_rate_says_and_never_above_the_threshold() -> None:
    scores = np.arange(1, 200)
    threshold = set_threshold(scores, Goal(0.01, review_rate=0.1))
    assert (threshold.value, threshold.review_above) == (198, 180)
    assert set_threshold(scores, Goal(0.01)).review_above is None
    assert set_threshold(np.ones(199), Goal(0.01, review_rate=0.1)).review_above is None


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (Goal(0.01, 1.0), "confidence from 0.5 to below 1"),
        (Goal(0.01, 95), "95 % is 0.95"),
        (Goal(0.01, review_rate=0.01), "a review rate above the false-reject rate"),
        (Goal(0.01, review_rate=2.0), "between 0 and 1"),
    ],
)
def test_goals_that_make_no_sense_are_refused(goal: Goal, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        set_threshold([1.0, 2.0], goal)


@given(rate=st.sampled_from([0.002, 0.01, 0.05, 0.3, 0.9]), confidence=st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=15)
def test_parts_needed_for_a_confidence_is_the_smallest_number(rate: float, confidence: float) -> None:
    needed = parts_needed(rate, confidence)
    assert tolerance_threshold(np.arange(needed), rate, confidence).missing == 0
    assert tolerance_threshold(np.arange(needed), rate, confidence).certified_rate <= rate
    if needed > 1:
        assert tolerance_threshold(np.arange(needed - 1), rate, confidence).missing == 1


@pytest.mark.parametrize(("parts", "above"), [(299, 0), (500, 1), (1000, 4), (2000, 12), (3000, 20)])
def test_tolerance_ranks_of_the_tables(parts: int, above: int) -> None:
    assert tolerance_above(parts, 0.01, 0.95) == above


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
