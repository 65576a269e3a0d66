"""A few photographs of drawn parts, and features made from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone
from trainer.features import Features, extract
from trainer.weights import find_weights


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten different photographs of a round part."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    for index in range(10):
        image = np.full((120, 140, 3), rng.integers(60, 90), np.uint8)
        centre = (70 + int(rng.integers(-4, 5)), 60 + int(rng.integers(-4, 5)))
        cv2.circle(image, centre, 40, (180, 170, 160), -1)
        cv2.circle(image, centre, 15, (40, 40, 40), -1)
        noisy = image.astype(np.int16) + rng.integers(-6, 7, image.shape)
        cv2.imwrite(str(folder / f"part_{index:02}.png"), noisy.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="session")
def features(photos: Path) -> Features:
    """Features of the photographs from a random resnet18."""
    backbone = build_backbone("resnet18", find_weights("resnet18", "random").arrays)
    return extract(backbone, sorted(photos.iterdir()), Preprocessing(), torch.device("cpu"))
