"""Distances between photographs against all pairs in float64, and what mutual scores make of a loner."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.mutual import (
    Compressed,
    Compressor,
    References,
    choose_references,
    nearest_share,
    rarity,
    score_mutually,
)


def photographs(count: int, patches: int = 12, channels: int = 8, seed: int = 0) -> Compressed:
    """Photographs whose patches scatter around as many places, each with its own in every photograph."""
    rng = np.random.default_rng(seed)
    places = rng.normal(0, 1, (1, patches, channels))
    return Compressed((places + rng.normal(0, 0.1, (count, patches, channels))).astype(np.float16))


def test_distances_are_those_of_the_nearest_patches() -> None:
    found = photographs(7)
    references = References(found, np.array([0, 2, 3, 5, 6]))
    distances = references.distances(found.of(1))
    every = np.linalg.norm(
        found.patches[1].astype(np.float64)[:, None, None] - found.patches[references.chosen].astype(np.float64), axis=3
    )
    np.testing.assert_allclose(distances.numpy(), every.min(axis=2), atol=0.03)


def test_who_is_left_out_is_at_no_distance() -> None:
    found = photographs(7)
    distances = References(found, np.array([0, 2, 4])).distances(found.of(2), [2, 4, 6])
    assert torch.isfinite(distances).all(0).tolist() == [True, False, False]


def test_a_patch_that_no_other_photograph_has_scores_highest() -> None:
    found = photographs(20)
    found.patches[13, 5] += 2
    mutual = score_mutually(found, References(found, np.arange(20)))
    assert np.unravel_index(mutual.scores.argmax(), mutual.scores.shape) == (13, 5)
    assert (mutual.nearest <= mutual.scores + 1e-6).all()
    assert (mutual.scores <= mutual.reach + 1e-6).all()


@pytest.mark.parametrize(("references", "expected"), [(2, 4.0), (3, 3.0), (9, 2.0)])
def test_a_score_is_the_mean_over_the_three_nearest(references: int, expected: float) -> None:
    """Distances 4, 2, 3, 1, 7, 7 ... after the photograph itself."""
    distances = torch.tensor([[torch.inf, 4, 2, 3, 1, 7, 7, 7, 7]])[:, :references]
    assert rarity(distances).tolist() == [expected]


@pytest.mark.parametrize(("references", "kept"), [(2, 1), (11, 3), (101, 30)])
def test_thirty_percent_of_the_others_count(references: int, kept: int) -> None:
    distances = torch.rand(4, references)
    distances[:, 0] = torch.inf  # the photograph itself
    assert nearest_share(distances).shape == (4, kept)


def test_large_sets_are_compared_with_a_sample_that_is_always_the_same() -> None:
    assert choose_references(50, most=80).tolist() == list(range(50))
    chosen = choose_references(500, most=80)
    assert len(set(chosen.tolist())) == 80
    assert chosen.tolist() == choose_references(500, most=80).tolist()


def test_principal_components_keep_the_distances_of_directions() -> None:
    rng = np.random.default_rng(0)
    patches = (1 + rng.random((6, 40, 30)) @ rng.random((30, 200))).astype(np.float32)
    small = Compressor(patches)(patches).reshape(-1, 128).astype(np.float64)
    flat = patches.reshape(-1, 200) / np.linalg.norm(patches.reshape(-1, 200), axis=1, keepdims=True)
    expected = np.linalg.norm(flat[:50, None] - flat[None, 50:100], axis=2)
    np.testing.assert_allclose(np.linalg.norm(small[:50, None] - small[None, 50:100], axis=2), expected, atol=2e-3)
