"""The development set is made of good photographs alone, each used once, and spoilt only where its masks say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.development_set import KINDS, VIEW, main, write_development_set
from engines.images import list_images, read_image
from trainer.data import scan_dataset


def test_every_photograph_is_used_once_and_nothing_but_good_ones(part_photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "development"
    assert main(["--data", str(part_photos), "--out", str(out)]) == 0
    sources = {VIEW(read_image(path)).tobytes() for path in list_images(part_photos / "train" / "good")}
    dataset = scan_dataset(out)
    kept = [*dataset.train_good, *(sample.path for sample in dataset.test if not sample.is_defect)]
    written = [VIEW(read_image(path)).tobytes() for path in kept]
    assert len(set(written)) == len(written)
    assert set(written) < sources
    spoilt = [sample for sample in dataset.test if sample.is_defect]
    assert len(kept) + len(spoilt) == len(sources)
    assert {sample.label for sample in spoilt} <= KINDS.keys()
    assert all(sample.mask for sample in spoilt)
    assert main(["--data", str(part_photos), "--out", str(out)]) == 2


def test_it_is_the_same_again(part_photos: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_development_set(part_photos, tmp_path / name, seed=3)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


@pytest.mark.parametrize("kind", KINDS)
def test_what_changes_is_what_the_mask_says(kind: str, part_photos: Path) -> None:
    frame = VIEW(read_image(list_images(part_photos / "train" / "good")[0]))
    for seed in range(8):
        spoilt, mask = KINDS[kind](frame, np.random.default_rng(seed))
        change = np.abs(spoilt.astype(int) - frame).max(axis=2)
        assert mask.any()
        assert change[mask > 0].mean() > 20 * change[mask == 0].mean()


def test_too_few_photographs_are_refused(part_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for path in list_images(part_photos / "train" / "good")[:9]:
        (few / path.name).write_bytes(path.read_bytes())
    assert main(["--data", str(few), "--out", str(tmp_path / "out")]) == 2
    assert "at least 10 photographs" in capsys.readouterr().err
