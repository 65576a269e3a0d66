"""Data sets: MVTec AD's layout, or a plain folder of photographs of good parts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.errors import DataError
from engines.images import list_images


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


def hold_back(paths: Sequence[Path], share: float, seed: int) -> tuple[list[Path], list[Path]]:
    """Split good photographs into those to train on and those kept back for calibration, both in their order.

    At least one photograph stays on each side while there are two. Raises DataError for fewer than two photographs
    with a share above zero.
    """
    if share == 0:
        return list(paths), []
    if len(paths) < 2:
        raise DataError(
            f"expected at least 2 photographs of good parts (one to train on, one to calibrate with), "
            f"found {len(paths)}; photograph more parts (50 or more are recommended)"
        )
    count = min(max(round(len(paths) * share), 1), len(paths) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(paths))[:count].tolist())
    return (
        [path for index, path in enumerate(paths) if index not in chosen],
        [path for index, path in enumerate(paths) if index in chosen],
    )


def content_digest(path: Path) -> str:
    """Sha256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
