"""What people said keeps the promise of a threshold, or says that it does not, whatever law the scores follow."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.binomial import proportion_interval
from calibration.proposal import Heard, propose
from calibration.threshold import Goal, conformal_threshold, set_threshold
from engines.bundle import Calibration

Scores = NDArray[np.float32]
Law = Callable[[NDArray[np.float64]], NDArray[np.float64]]
LAWS: dict[str, Law] = {
    "exponential": lambda u: -np.log1p(-u),
    "two kinds of parts": lambda u: np.where(u < 0.95, u, 3 + u),
    "whole numbers": lambda u: np.floor(-20 * np.log1p(-u)),
}
RATE, FIRST, PRODUCED, SHARE, LINES = 0.05, 99, 3000, 0.1, 60
FLOATS = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)
SOME = st.lists(FLOATS, max_size=40).map(lambda scores: np.asarray(scores, np.float32))
ONE_OR_MORE = st.lists(FLOATS, min_size=1, max_size=150).map(lambda scores: np.asarray(scores, np.float32))


def calibrated(scores: Scores, rate: float = RATE, **fields: object) -> Calibration:
    entry = Calibration(
        backend="onnxruntime",
        device="CPU",
        precision="f32",
        versions={},
        false_reject_rate=rate,
        threshold=conformal_threshold(scores, rate).value,
        map_threshold=1.0,
        parts=len(scores),
        certified_rate=rate,
        guarantee="",
        golden=(),
        golden_tolerance=0.0,
        parity=(),
        created="2026-01-01T00:00:00+00:00",
        scores=tuple(np.sort(scores).tolist()),
    )
    return msgspec.structs.replace(entry, **fields)


def realised(law: Law, looked_at: Callable[[Scores, float, NDArray[np.bool_]], Scores]) -> tuple[float, float]:
    """Mean share of good parts that the new threshold rejects, over many lines, and its standard error.

    `looked_at(scores, threshold, drawn)` picks the sample from all good parts that a line made.
    """
    rng = np.random.default_rng(3)
    production = np.sort(law(rng.random(200_000)).astype(np.float32))
    rates = []
    for _ in range(LINES):
        old, made = (law(rng.random(count)).astype(np.float32) for count in (FIRST, PRODUCED))
        calibration = calibrated(old)
        lucky = rng.random(PRODUCED) < SHARE
        found = propose(calibration, Heard(sample=looked_at(made, calibration.threshold, lucky))).sampled
        assert found is not None
        rates.append(1 - np.searchsorted(production, np.float32(found.threshold), side="right") / len(production))
    return float(np.mean(rates)), float(np.std(rates) / np.sqrt(LINES))


@pytest.mark.parametrize("law", LAWS)
def test_a_sample_that_the_score_had_no_say_in_keeps_the_promise(law: str) -> None:
    rate, error = realised(LAWS[law], lambda made, threshold, lucky: made[lucky])
    assert rate <= RATE + 4 * error


def test_all_rejects_in_it_only_put_the_threshold_too_high() -> None:
    rate, _ = realised(LAWS["exponential"], lambda made, threshold, lucky: made[lucky | (made > np.float32(threshold))])
    assert rate < RATE / 2


def test_confirmed_parts_that_passed_would_break_it() -> None:
    rate, error = realised(LAWS["exponential"], lambda made, threshold, lucky: made[lucky & (made <= threshold)])
    assert rate > 1.2 * RATE + 4 * error


def test_skipping_the_odd_parts_of_the_sample_would_break_it() -> None:
    def looked_at(made: Scores, threshold: float, lucky: NDArray[np.bool_]) -> Scores:
        return made[lucky & (made < np.quantile(made, 0.93))]

    rate, error = realised(LAWS["exponential"], looked_at)
    assert rate > 1.2 * RATE + 4 * error


@given(old=ONE_OR_MORE, sample=SOME)
def test_a_whole_sample_joins_the_calibration(old: Scores, sample: Scores) -> None:
    found = propose(calibrated(old), Heard(sample=sample))
    together = set_threshold(np.concatenate([old, sample]), Goal(RATE))
    assert found.sampled is not None
    assert found.sampled.threshold == together.value
    assert found.certified == (together.missing == 0)


@given(old=ONE_OR_MORE, sample=SOME, fields=st.sampled_from([{"unseen": 1}, {"unscored": 2}]))
def test_what_is_not_whole_certifies_nothing(old: Scores, sample: Scores, fields: dict[str, int]) -> None:
    found = propose(calibrated(old), Heard(sample=sample, **fields))  # type: ignore[arg-type]
    assert not found.certified
    assert found.promise.startswith("An estimate, not certified: ")


@given(old=ONE_OR_MORE, disputed=SOME, missed=SOME, defects=SOME)
def test_the_forgiving_threshold_is_the_least_that_all_disputed_parts_pass(
    old: Scores, disputed: Scores, missed: Scores, defects: Scores
) -> None:
    found = propose(calibrated(old), Heard(disputed=disputed, missed=missed, defects=defects))
    if found.forgiving is None:
        assert found.now.passing == len(disputed)
        return
    limit = np.float32(found.forgiving.threshold)
    assert found.forgiving.passing == len(disputed) > np.sum(disputed < limit)
    assert found.forgiving.threshold > found.now.threshold
    if not len(missed) + len(defects):
        assert found.forgiving.escapes is None
        return
    assert found.forgiving.escapes is not None
    assert found.now.escapes is not None
    assert found.forgiving.escapes.escaped >= found.now.escapes.escaped
    escaped = int(np.sum(missed <= limit) + np.sum(defects <= limit))
    assert found.forgiving.escapes.interval == proportion_interval(escaped, len(missed) + len(defects))


def test_scores_of_other_heads_do_not_join_them() -> None:
    old, sample = np.linspace(0, 1, 99, dtype=np.float32), np.linspace(5, 6, 150, dtype=np.float32)
    folded = calibrated(old, folds=5)
    assert propose(folded, Heard()).sampled is None
    found = propose(folded, Heard(sample=sample))
    assert found.sampled is not None
    assert found.sampled.threshold == conformal_threshold(sample, RATE).value
    assert found.certified


def test_lots_that_are_not_known_certify_nothing() -> None:
    old = np.linspace(0, 1, 99, dtype=np.float32)
    assert propose(calibrated(old, lots=40), Heard()).certified
    found = propose(calibrated(old, lots=40), Heard(sample=old))
    assert not found.certified
    assert "the lots of the new parts are not known" in found.promise
