"""The noise has the normal law's moments and quantiles, and follows its generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from trainer.noise import GaussianNoise


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_follows_the_normal_law(dtype: torch.dtype) -> None:
    noise = GaussianNoise(0.015, dtype).draw(np.random.default_rng(1), 1000, 400)
    assert noise.dtype == dtype
    values = noise.double().flatten().numpy() / 0.015
    assert abs(values.mean()) < 0.01
    assert values.std() == pytest.approx(1, abs=0.01)
    assert stats.kurtosis(values) == pytest.approx(0, abs=0.05)
    if dtype == torch.float32:
        assert stats.kstest(values, "norm").statistic < 0.003


def test_follows_the_generator() -> None:
    source = GaussianNoise(1.0, torch.float32)
    first, again, other = (source.draw(np.random.default_rng(seed), 3, 5) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_neighbours_are_independent() -> None:
    noise = GaussianNoise(1.0, torch.float32).draw(np.random.default_rng(3), 2000, 64).numpy()
    correlation = np.corrcoef(noise.T)
    assert np.abs(correlation - np.eye(64)).max() < 0.12
