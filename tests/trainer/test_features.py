"""Patch features follow the paper's equations, in memory or on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engines.errors import DataError
from engines.images import read_image
from engines.preprocess import Preprocessing
from trainer.features import Features, extract, feature_store, patch_features

CPU = torch.device("cpu")


class Levels(nn.Module):
    """Two known levels, whatever comes in."""

    def __init__(self, level2: torch.Tensor, level3: torch.Tensor) -> None:
        super().__init__()
        self.levels = level2, level3

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.levels


def test_pools_resizes_and_concatenates() -> None:
    generator = torch.Generator().manual_seed(0)
    level2 = torch.randn(1, 3, 4, 4, generator=generator)
    level3 = torch.randn(1, 5, 2, 2, generator=generator)
    patches = patch_features(Levels(level2, level3), np.zeros((1, 32, 32, 3), np.uint8), CPU)
    assert patches.shape == (1, 16, 8)

    # Equation 2 by hand: the mean over the 3x3 window, zeros outside (patch 6 is row 1, column 2).
    expected2 = level2[0, :, 0:3, 1:4].sum((1, 2)) / 9
    torch.testing.assert_close(patches[0, 6, :3], expected2)
    # Every 3x3 window of a 2x2 map holds all of it, so level 3 is flat after pooling, whatever the resizing.
    torch.testing.assert_close(patches[0, 6, 3:], level3[0].sum((1, 2)) / 9)


def test_same_patches_for_a_photograph_alone_and_in_a_batch(photos: Path, features: Features) -> None:
    from trainer.backbone import build_backbone
    from trainer.weights import find_weights

    backbone = build_backbone("resnet18", find_weights("resnet18", "random").arrays)
    path = sorted(photos.iterdir())[3]
    alone = patch_features(backbone, Preprocessing()(read_image(path))[None], CPU)
    assert features.grid == 28
    assert features.patches.shape == (10, 784, 384)
    np.testing.assert_allclose(features.patches[3], alone[0].numpy(), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(("limit", "kind"), [(1 << 30, np.ndarray), (0, np.memmap)])
def test_the_store_is_on_disk_above_the_limit(tmp_path: Path, limit: int, kind: type) -> None:
    with feature_store(3, 2, 5, tmp_path, limit) as store:
        assert type(store) is kind
        assert store.shape == (3, 4, 5)
        store[:] = 7
        assert store.sum() == 7 * 60


def test_a_disk_without_room_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no room for"), feature_store(10**9, 28, 1536, tmp_path):
        pass


def test_progress_counts_photographs(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    level2, level3 = torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)
    paths = sorted(photos.iterdir())[:2]
    extract(Levels(level2, level3), paths, Preprocessing(), CPU, lambda done, total: seen.append((done, total)))
    assert seen == [(2, 2)]
