"""Data sets: MVTec AD's layout, or a plain folder of photographs of good parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import DataError
from engines.images import list_images
from engines.lots import list_by_lot
from engines.masks import mask_of


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


def scan_dataset(root: Path, by_lot: bool = False) -> Dataset:
    """Find the photographs below `root`; `by_lot` those to learn from in folders of their own, one a lot.

    MVTec AD's layout (`train/good`, `test/<label>`, `ground_truth/<label>/<name>_mask.png`) is recognised by its
    `train/good`; any other folder is taken as photographs of good parts. Raises DataError where there are none.
    """
    if not root.is_dir():
        raise DataError(f"expected a data set folder at {root}, found {'a file' if root.exists() else 'nothing'}")
    good = root / "train" / "good"
    folder = good if good.is_dir() else root
    train = list_by_lot(folder) if by_lot else list_images(folder)
    if not train:
        raise DataError(
            f"no photographs in {folder}; expected image files of good parts, directly inside or under train/good"
        )
    return Dataset(root, tuple(train), tuple(scan_test(root)))


def scan_test(root: Path) -> list[Sample]:
    """The labelled photographs of MVTec AD's layout, by label and name; none where there is no folder `test`."""
    test = root / "test"
    folders = sorted(path for path in test.iterdir() if path.is_dir()) if test.is_dir() else []
    return [Sample(path, folder.name, mask_of(path)) for folder in folders for path in list_images(folder)]


def hold_back(
    photographs: Sequence[Photograph], share: float, seed: int, lots: Sequence[str] | None = None
) -> tuple[list[Photograph], list[Photograph]]:
    """Split good photographs into those to train on and those kept back for calibration, both in their order.

    At least one stays on each side. Where `lots` names each photograph's lot, whole lots are kept back, until they
    hold the share. Raises DataError for fewer than two photographs, or lots, with a share above zero.
    """
    if share == 0:
        return list(photographs), []
    units = _units(photographs, lots, seed)
    count = min(max(round(len(photographs) * share), 1), len(photographs) - 1)
    chosen = set(units[0])
    for unit in units[1:-1]:
        if len(chosen) >= count:
            break
        chosen.update(unit)
    return (
        [photograph for index, photograph in enumerate(photographs) if index not in chosen],
        [photograph for index, photograph in enumerate(photographs) if index in chosen],
    )


def split_folds(
    photographs: Sequence[Photograph], folds: int, seed: int, lots: Sequence[str] | None = None
) -> list[NDArray[np.intp]]:
    """Deal photographs, or whole `lots`, out to `folds` of about the same number; returns the indices of each.

    There are fewer folds where there are fewer photographs or lots. Raises DataError where there are fewer than two.
    """
    units = _units(photographs, lots, seed)
    dealt: list[list[int]] = [[] for _ in range(min(folds, len(units)))]
    for unit in sorted(units, key=len, reverse=True):
        min(dealt, key=len).extend(unit)
    return [np.sort(np.asarray(fold, np.intp)) for fold in dealt]


def _units(photographs: Sequence[Photograph], lots: Sequence[str] | None, seed: int) -> list[list[int]]:
    """What is not torn apart, in a seeded order: photographs, or the indices of each lot's."""
    found: dict[str, list[int]] = {}
    for index in range(len(photographs)):
        found.setdefault(lots[index] if lots else str(index), []).append(index)
    if len(found) < 2:
        what = "lots" if lots else "different photographs of good parts"
        raise DataError(
            f"expected at least 2 {what} (one to train on, one to calibrate with), "
            f"found {len(found)}; photograph more parts (50 or more are recommended)"
        )
    units = list(found.values())
    return [units[index] for index in np.random.default_rng(seed).permutation(len(units))]
