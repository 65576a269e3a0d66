"""Out-of-fold scores: heads with scales of their own are brought to that of the head that runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.folds import OutOfFold, align
from calibration.scoring import PartScores
from calibration.threshold import conformal_threshold

Scores = NDArray[np.float32]
FOLDS = 5


def scored(scores: NDArray[np.float64]) -> PartScores:
    return PartScores(
        scores.astype(np.float32), (2 * scores).astype(np.float32), np.zeros((len(scores), 1), np.float32)
    )


def draw(seed: int, parts: int) -> tuple[OutOfFold, PartScores, Scores]:
    """Heads that score on scales of their own, and lower what they were trained on; scores of all, and of new parts."""
    rng = np.random.default_rng(seed)
    hardness, fold = rng.gumbel(size=parts), rng.permutation(np.arange(parts) % FOLDS)
    heads = []
    for number in range(FOLDS):
        known = np.where(fold == number, 0.0, 2.0)
        heads.append(scored(rng.normal(0, 3) + rng.uniform(0.5, 2.0) * (hardness - known)))
    return OutOfFold(tuple(heads), fold), scored(hardness - 2.0), rng.gumbel(size=2000).astype(np.float32)


def test_heads_with_scales_of_their_own_are_brought_to_the_one_that_runs() -> None:
    out_of_fold, own, _ = draw(0, 60)
    found = out_of_fold.aligned(own)
    np.testing.assert_allclose(found.scores, own.scores + 2.0, atol=1e-4)
    np.testing.assert_allclose(found.map_peaks, own.map_peaks + 4.0, atol=1e-4)


def test_the_rate_then_holds_and_without_it_does_not() -> None:
    aligned, raw = [], []
    for seed in range(300):
        out_of_fold, own, new = draw(seed, 60)
        apart = np.choose(out_of_fold.fold, [head.scores for head in out_of_fold.heads])
        for rates, scores in ((aligned, out_of_fold.aligned(own).scores), (raw, apart)):
            rates.append(float(np.mean(new > conformal_threshold(scores, 0.05).value)))
    assert np.mean(aligned) == pytest.approx(3 / 61, abs=0.007)  # four standard errors
    assert np.mean(raw) < 0.02  # the head whose scale is the widest sets the threshold for all


@pytest.mark.parametrize(("trained", "own"), [([0, 0, 0], [1, 2, 3]), ([1, 2, 3], [0, 0, 0]), ([7, 7, 7], [7, 7, 7])])
def test_photographs_that_a_head_does_not_tell_apart_bring_nothing_into_line(trained: list, own: list) -> None:
    scores = np.asarray([4.0, 5.0], np.float32)
    np.testing.assert_array_equal(align(scores, np.asarray(trained, np.float32), np.asarray(own, np.float32)), scores)
