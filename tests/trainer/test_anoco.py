"""ANoCo's score against the minimum of its energy, and what it says of far and near patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.anoco import AnchoredNormals


def unit(seed: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(1 + torch.randn(count, 16, generator=generator), dim=1)


@pytest.mark.parametrize("neighbours", [1, 3, 40])
def test_the_drift_is_how_far_the_energys_minimum_is(neighbours: int) -> None:
    bank, queries = unit(0, 40).double().numpy(), unit(1, 7).double().numpy()
    found = AnchoredNormals(torch.from_numpy(bank).float(), neighbours).patch_scores(
        torch.tensor(queries)[None].float()
    )
    for query, score in zip(queries, found[0], strict=True):
        cosines = bank @ query
        nearest = np.argsort(-cosines)[:neighbours]
        w = np.maximum(cosines[nearest], 0)
        # d/df of sum w |f - n|^2 + lambda |f - q|^2 is zero there; lambda as good as 0.
        minimum = np.linalg.solve((w.sum() + 1e-9) * np.eye(16), w @ bank[nearest] + 1e-9 * query)
        assert score == pytest.approx(np.linalg.norm(minimum - query), abs=1e-5)


def test_the_length_of_a_patch_does_not_matter() -> None:
    bank, queries = unit(0, 40), unit(1, 7)[None]
    scores = AnchoredNormals(bank).patch_scores(queries)
    torch.testing.assert_close(AnchoredNormals(3 * bank).patch_scores(5 * queries), scores)


def test_what_resembles_nothing_drifts_most() -> None:
    bank = torch.eye(16)[:8] + 0.01
    near, far = torch.eye(16)[0], torch.eye(16)[12]
    scores = AnchoredNormals(bank, neighbours=2).patch_scores(torch.stack([near, far])[None])
    assert scores[0, 1] > scores[0, 0]
