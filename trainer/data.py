"""Data sets: MVTec AD's layout, or a plain folder of photographs of good parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import DataError
from engines.images import list_images


@dataclass(frozen=True)
class Photograph:
    """A photograph of a good part, checked; `fingerprint` as `engines.images.fingerprint` gives it."""

    path: Path
    fingerprint: str


@dataclass(frozen=True)
class Sample:
    """One test photograph. `mask` is None for good parts and where the data set has no masks."""

    path: Path
    label: str
    mask: Path | None = None

    @property
    def is_defect(self) -> bool:
        """Whether the part is anything but good."""
        return self.label != "good"


@dataclass(frozen=True)
class Dataset:
    """Photographs of good parts to learn from, and labelled ones to evaluate on (none in a plain folder)."""

    root: Path
    train_good: tuple[Path, ...]
    test: tuple[Sample, ...]


def scan_dataset(root: Path) -> Dataset:
    """Find the photographs below `root`.

    MVTec AD's layout (`train/good`, `test/<label>`, `ground_truth/<label>/<name>_mask.png`) is recognised by its
    `train/good`; any other folder is taken as photographs of good parts. Raises DataError where there are none.
    """
    if not root.is_dir():
        raise DataError(f"expected a data set folder at {root}, found {'a file' if root.exists() else 'nothing'}")
    good = root / "train" / "good"
    train = list_images(good if good.is_dir() else root)
    if not train:
        raise DataError(
            f"no photographs in {good if good.is_dir() else root}; expected image files of good parts, "
            "directly inside or under train/good"
        )
    return Dataset(root, tuple(train), tuple(_test_samples(root)))


def _test_samples(root: Path) -> list[Sample]:
    test = root / "test"
    folders = sorted(path for path in test.iterdir() if path.is_dir()) if test.is_dir() else []
    return [
        Sample(path, folder.name, _mask_of(root, folder.name, path))
        for folder in folders
        for path in list_images(folder)
    ]


def _mask_of(root: Path, label: str, image: Path) -> Path | None:
    mask = root / "ground_truth" / label / f"{image.stem}_mask.png"
    return mask if label != "good" and mask.is_file() else None


def hold_back(photographs: Sequence[Photograph], share: float, seed: int) -> tuple[list[Photograph], list[Photograph]]:
    """Split good photographs into those to train on and those kept back for calibration, both in their order.

    At least one stays on each side. Raises DataError for fewer than two photographs with a share above zero.
    """
    if share == 0:
        return list(photographs), []
    if len(photographs) < 2:
        raise DataError(
            f"expected at least 2 different photographs of good parts (one to train on, one to calibrate with), "
            f"found {len(photographs)}; photograph more parts (50 or more are recommended)"
        )
    count = min(max(round(len(photographs) * share), 1), len(photographs) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(photographs))[:count].tolist())
    return (
        [photograph for index, photograph in enumerate(photographs) if index not in chosen],
        [photograph for index, photograph in enumerate(photographs) if index in chosen],
    )
