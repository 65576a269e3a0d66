"""Drawn parts: the same from the same seed, different from one part to the next, masks exactly on the defect."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.demo.defects import DEFECTS
from edge.demo.kinds import KINDS
from edge.demo.parts import defects_of, render, render_many, write_dataset
from engines.errors import DataError, UsageError
from engines.images import list_images, read_image

EVERY_DEFECT = [(kind, defect) for kind, defects in DEFECTS.items() for defect in defects]

CHANGES_THE_SHADOW = {"chip", "burr", "cut", "missing_hole", "extra_hole"}


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_draws_the_same_photograph(kind: str) -> None:
    first, second = render(kind, rng()), render(kind, rng())
    np.testing.assert_array_equal(first.image, second.image)
    assert first.image.shape == (512, 512, 3)
    assert first.image.dtype == np.uint8
    assert first.defect is None
    assert not first.mask.any()


@pytest.mark.parametrize("kind", KINDS)
def test_good_parts_vary_and_stay_alike(kind: str) -> None:
    pictures = [part.image.astype(float) for part in render_many(kind, 11, [None] * 4)]
    differences = [np.abs(a - b).mean() for i, a in enumerate(pictures) for b in pictures[:i]]
    assert min(differences) > 2
    assert max(differences) < 30


@pytest.mark.parametrize("kind", KINDS)
def test_photographs_are_well_exposed_and_noisy(kind: str) -> None:
    image = render(kind, rng()).image
    assert 20 < image.mean() < 200
    assert (image == 255).mean() < 0.01
    corner = image[:40, :40].astype(float)
    residue = corner - cv2.GaussianBlur(corner, (0, 0), 3)
    assert 0.5 < residue.std() < 6


@pytest.mark.parametrize(("kind", "defect"), EVERY_DEFECT)
def test_mask_lies_where_the_defect_changed_the_picture(kind: str, defect: str) -> None:
    good, bad = render(kind, rng()), render(kind, rng(), defect)
    change = np.abs(good.image.astype(int) - bad.image.astype(int)).max(2) > 12
    mask = bad.mask > 0
    assert set(np.unique(bad.mask)) == {0, 255}
    assert 30 < mask.sum() < 0.08 * mask.size
    assert change[mask].mean() > 0.1, "the mask covers what did not change"
    # The lens blurs, and what is cut off or added moves the shadow on the ground by up to the part's thickness.
    reach = 61 if defect in CHANGES_THE_SHADOW else 9
    near = cv2.dilate(bad.mask, np.ones((reach, reach), np.uint8)) > 0
    assert change[near].sum() > 0.95 * change.sum(), "the picture changed outside the mask"
    assert mask[32:-32, 32:-32].sum() > 0.9 * mask.sum(), "the defect lies outside the central crop"


def test_order_does_not_change_the_parts() -> None:
    alone = list(render_many("plate", 2, [None, "dent"]))
    longer = list(render_many("plate", 2, [None, "dent", "stain"]))
    for a, b in zip(alone, longer, strict=False):
        np.testing.assert_array_equal(a.image, b.image)


@pytest.mark.parametrize(
    ("kind", "defect", "named"), [("widget", None, "flange"), ("flange", "rust", "scratch"), ("gasket", "", "cut")]
)
def test_unknown_names_are_refused_with_the_known_ones(kind: str, defect: str | None, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        render(kind, rng(), defect)


def test_dataset_has_the_mvtec_layout(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write_dataset(folder, "connector", train=3, good=2, defective=8, seed=1)
    assert len(list_images(folder / "train" / "good")) == 3
    assert len(list_images(folder / "test" / "good")) == 2
    labels = {path.name for path in (folder / "test").iterdir()}
    assert labels == {"good", *defects_of("connector")}
    for photograph in (folder / "test").glob("*/*.png"):
        mask = folder / "ground_truth" / photograph.parent.name / f"{photograph.stem}_mask.png"
        assert mask.exists() == (photograph.parent.name != "good")
        if mask.exists():
            assert read_image(mask).shape == read_image(photograph).shape[:2]


def test_dataset_does_not_mix_with_older_files(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        write_dataset(tmp_path, "flange", train=1, good=0, defective=0)
