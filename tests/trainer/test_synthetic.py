"""Drawn defects: local, repeatable, where their cover says, and made of the photograph alone."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.synthetic import cloud, draw_defects


@pytest.fixture
def frame() -> np.ndarray:
    rng = np.random.default_rng(0)
    grey = (110 + 12 * cloud(224, 30, rng)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_only_what_is_covered_changes(frame: np.ndarray) -> None:
    before = frame.copy()
    for seed in range(20):
        drawn = draw_defects(frame, np.random.default_rng(seed))
        assert drawn.frame.dtype == np.uint8
        assert drawn.cover.shape == (224, 224)
        changed = (drawn.frame != frame).any(axis=2)
        assert changed.any()
        assert not changed[drawn.cover == 0].any()
        assert 0 < (drawn.cover > 0.3).mean() < 0.15
    assert (frame == before).all()


def test_same_seed_same_defects_and_another_seed_others(frame: np.ndarray) -> None:
    first, again, other = (draw_defects(frame, np.random.default_rng(seed)).frame for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_grey_photograph_gets_grey_defects(frame: np.ndarray) -> None:
    for seed in range(30):
        drawn = draw_defects(frame, np.random.default_rng(seed)).frame
        assert np.ptp(drawn, axis=2).max() == 0


@pytest.mark.parametrize("scale", [2, 8, 40])
def test_clouds_have_unit_deviation_and_their_scale(scale: float) -> None:
    values = cloud(256, scale, np.random.default_rng(3))
    assert values.mean() == pytest.approx(0, abs=1e-4)
    assert values.std() == pytest.approx(1, rel=1e-4)
    step = np.abs(np.diff(values, axis=1)).mean()
    assert 0.3 / scale < step < 2 / scale
