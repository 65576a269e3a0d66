from __future__ import annotations

from pathlib import Path

from engines.masks import mask_of


def test_a_mask_has_its_photographs_kind_and_name(tmp_path: Path) -> None:
    mask = tmp_path / "ground_truth/dent/7_mask.png"
    mask.parent.mkdir(parents=True)
    mask.touch()
    assert mask_of(tmp_path / "test/dent/7.jpg") == mask
    assert mask_of(tmp_path / "test/dent/8.jpg") is None
    assert mask_of(tmp_path / "test/good/7.jpg") is None
    assert mask_of(Path("7.jpg")) is None
