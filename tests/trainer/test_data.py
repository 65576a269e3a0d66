"""Data sets in MVTec AD's layout and as plain folders, and the split that calibration relies on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.errors import DataError
from trainer.data import Photograph, hold_back, scan_dataset, split_folds


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")
    return path


def photographs(count: int) -> list[Photograph]:
    return [Photograph(Path(f"{index}.png"), str(index)) for index in range(count)]


def test_mvtec_layout(tmp_path: Path) -> None:
    good = touch(tmp_path / "train/good/000.png")
    touch(tmp_path / "test/good/000.png")
    touch(tmp_path / "test/scratch/000.png")
    touch(tmp_path / "test/dent/001.bmp")
    mask = touch(tmp_path / "ground_truth/scratch/000_mask.png")
    dataset = scan_dataset(tmp_path)
    assert dataset.train_good == (good,)
    assert [(s.label, s.is_defect, s.mask) for s in dataset.test] == [
        ("dent", True, None),
        ("good", False, None),
        ("scratch", True, mask),
    ]


def test_plain_folder_takes_every_kind_of_image_and_nothing_else(tmp_path: Path) -> None:
    names = ["a.png", "b.JPG", "c.bmp", "d.tif", "e.webp"]
    for name in [*names, ".hidden.png", "notes.txt"]:
        touch(tmp_path / name)
    dataset = scan_dataset(tmp_path)
    assert [path.name for path in dataset.train_good] == names
    assert dataset.test == ()


@pytest.mark.parametrize(
    ("made", "asked", "message"),
    [
        ("folder", "folder", "no photographs in"),
        ("folder", "missing", "found nothing"),
        ("file.png", "file.png", "found a file"),
    ],
)
def test_refuses_what_is_no_data_set(tmp_path: Path, made: str, asked: str, message: str) -> None:
    if "." in made:
        touch(tmp_path / made)
    else:
        (tmp_path / made).mkdir()
    with pytest.raises(DataError, match=message):
        scan_dataset(tmp_path / asked)


@pytest.mark.parametrize(("count", "share", "expected"), [(2, 0.2, 1), (10, 0.2, 2), (3, 0.9, 2), (64, 0.25, 16)])
def test_hold_back_splits_without_loss(count: int, share: float, expected: int) -> None:
    everything = photographs(count)
    train, kept = hold_back(everything, share, seed=1)
    assert len(kept) == expected
    assert sorted([*train, *kept], key=lambda p: int(p.fingerprint)) == everything
    assert (train, kept) == hold_back(everything, share, seed=1)


def test_hold_back_follows_the_seed_and_may_be_switched_off() -> None:
    everything = photographs(50)
    assert hold_back(everything, 0.2, 0) != hold_back(everything, 0.2, 1)
    assert hold_back(everything[:1], 0.0, 0) == (everything[:1], [])


def test_hold_back_keeps_lots_whole() -> None:
    everything = photographs(20)
    lots = [f"lot {index // 4}" for index in range(20)]
    train, kept = hold_back(everything, 0.3, 0, lots)
    lot_of = dict(zip(everything, lots, strict=True))
    assert {lot_of[part] for part in train}.isdisjoint(lot_of[part] for part in kept)
    assert len(kept) == 8
    assert len(hold_back(everything, 0.99, 0, lots)[0]) == 4
    with pytest.raises(DataError, match="at least 2 lots"):
        hold_back(everything, 0.3, 0, ["one"] * 20)


@pytest.mark.parametrize(("count", "folds", "sizes"), [(10, 5, [2] * 5), (11, 5, [2, 2, 2, 2, 3]), (3, 5, [1] * 3)])
def test_folds_share_everything_out_evenly(count: int, folds: int, sizes: list[int]) -> None:
    split = split_folds(photographs(count), folds, seed=1)
    assert sorted(map(len, split)) == sizes
    assert sorted(np.concatenate(split).tolist()) == list(range(count))
    again = split_folds(photographs(count), folds, seed=1)
    assert [fold.tolist() for fold in split] == [fold.tolist() for fold in again]


def test_folds_keep_lots_whole() -> None:
    lots = [f"lot {index % 4}" for index in range(30)]
    split = split_folds(photographs(30), 3, 0, lots)
    assert len(split) == 3
    found = [{lots[index] for index in fold} for fold in split]
    assert sum(map(len, found)) == 4
    with pytest.raises(DataError, match="at least 2 lots"):
        split_folds(photographs(3), 3, 0, ["one"] * 3)


def test_one_photograph_cannot_be_split() -> None:
    with pytest.raises(DataError, match="at least 2 different photographs"):
        hold_back(photographs(1), 0.2, 0)
