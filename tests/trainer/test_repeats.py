"""A fault that repeats hides itself from mutual scoring, and is found by the photographs that share it."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.mutual import Compressed, MutualScores, References, score_mutually
from trainer.repeats import (
    FEWEST_PATCHES,
    Community,
    find_communities,
    score_without_fellows,
    suspicious_patches,
    upper_fence,
    worth_a_look,
)

GOOD, FAULTY = 60, 12


@pytest.fixture(scope="module")
def photographs() -> Compressed:
    """Sixty good photographs, and twelve in which the same fault covers four patches."""
    rng = np.random.default_rng(3)
    patches = rng.normal(0, 1, (1, 30, 8)) + rng.normal(0, 0.15, (GOOD + FAULTY, 30, 8))
    patches[GOOD:, 10:14] = rng.normal(0, 1, (4, 8)) + 2 + rng.normal(0, 0.05, (FAULTY, 4, 8))
    return Compressed(patches.astype(np.float16))


@pytest.fixture(scope="module")
def references(photographs: Compressed) -> References:
    return References(photographs, np.arange(GOOD + FAULTY))


@pytest.fixture(scope="module")
def mutual(photographs: Compressed, references: References) -> MutualScores:
    return score_mutually(photographs, references)


def test_mutual_scoring_alone_is_fooled_and_the_graph_is_not(
    photographs: Compressed, references: References, mutual: MutualScores
) -> None:
    (community,) = find_communities(photographs, references, mutual)
    assert community.photographs == tuple(range(GOOD, GOOD + FAULTY))
    assert community.patches == pytest.approx(2 * 4)  # both directions
    apart = score_without_fellows(photographs, references, mutual.scores, [community])
    np.testing.assert_array_equal(apart[:GOOD], mutual.scores[:GOOD])
    assert mutual.scores[GOOD:].max(1).min() < 0.7 * apart[GOOD:].max(1).min()
    assert apart[GOOD:].max(1).min() > 2 * apart[:GOOD].max()
    assert worth_a_look([community], mutual.scores, apart) == [community]


def test_suspicious_are_the_fault_s_patches_and_no_two_of_a_good_photograph(mutual: MutualScores) -> None:
    suspicious = suspicious_patches(mutual)
    assert suspicious[GOOD:, 10:14].all()
    assert suspicious[:GOOD].sum(1).max() < FEWEST_PATCHES


def test_a_group_of_ordinary_photographs_is_not_shown(mutual: MutualScores) -> None:
    assert worth_a_look([Community((0, 1, 2), 3.0)], mutual.scores, mutual.scores) == []


def test_good_photographs_alone_form_no_group(photographs: Compressed) -> None:
    good = Compressed(photographs.patches[:GOOD])
    references = References(good, np.arange(GOOD))
    assert find_communities(good, references, score_mutually(good, references)) == []


def test_a_community_of_all_references_is_left_as_it_is(
    photographs: Compressed, references: References, mutual: MutualScores
) -> None:
    everybody = Community(tuple(range(GOOD + FAULTY)), 1.0)
    found = score_without_fellows(photographs, references, mutual.scores, [everybody])
    np.testing.assert_array_equal(found, mutual.scores)


def test_the_fence_is_tukeys() -> None:
    assert upper_fence(np.arange(101, dtype=np.float32)) == pytest.approx(75 + 1.5 * 50)
