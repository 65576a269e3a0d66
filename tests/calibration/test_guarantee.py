from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from calibration.guarantee import guarantee
from calibration.threshold import Goal, set_threshold

TEN_LOTS = [str(part // 20) for part in range(200)]


@pytest.mark.parametrize(
    ("parts", "goal", "lots", "sentences"),
    [
        (
            1,
            Goal(0.01),
            None,
            ["certifies next to nothing", "every second good part", "98 more good parts"],
        ),
        (
            24,
            Goal(0.01),
            None,
            ["too few for the target of 1 %", "at most 4 %", "75 more good parts"],
        ),
        (98, Goal(0.01, certified_only=True), None, ["1 more good part (99 in all)"]),
        (99, Goal(0.01), None, ["99 good parts certify the target of 1 %", "at most 1 % of good parts", "2.98 %"]),
        (300, Goal(0.02), None, ["at most 1.99 % of good parts", "the target of 2 %"]),
        (299, Goal(0.01, 0.95), None, ["of 1 % with 95 % confidence", "very threshold rejects at most 0.997 %"]),
        (60, Goal(0.01), None, ["an estimate", "95 times in 100", "at most 1.64 %", "39 more good parts (99 in all)"]),
        (200, Goal(0.1), TEN_LOTS, ["200 good parts of 10 lots certify", "of a lot not seen yet"]),
        (200, Goal(0.05), TEN_LOTS, ["at most 9.09 % of good parts of a lot", "9 more lots (19 in all)"]),
    ],
)
def test_guarantee_says_what_is_certified(parts: int, goal: Goal, lots: list[str] | None, sentences: list[str]) -> None:
    scores = np.random.default_rng(1).gumbel(size=parts)
    said = guarantee(set_threshold(scores, goal, lots), goal)
    for sentence in sentences:
        assert sentence in said


def test_an_estimate_says_whether_it_reaches_beyond_the_parts() -> None:
    rng = np.random.default_rng(3)
    said = {guarantee(set_threshold(rng.gumbel(size=60), Goal(0.01)), Goal(0.01)) for _ in range(20)}
    assert any("marked for review" in sentence for sentence in said)
    assert any("The threshold is their largest score: a tail" in sentence for sentence in said)


def test_out_of_fold_scores_certify_nothing() -> None:
    goal = Goal(0.01)
    threshold = dataclasses.replace(set_threshold(np.arange(99), goal), folds=5)
    said = guarantee(threshold, goal)
    assert said.startswith("Out of fold, and so expected rather than certified: 99 good parts")
    assert "5 heads gave the scores" in said
