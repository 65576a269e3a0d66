"""The benchmark's cases on drawn parts: what it mixes, and that its counts are those of the list."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import bench_audit
from trainer.data import scan_dataset


@pytest.mark.parametrize("case", ["mixed", "repeated"])
def test_a_row_counts_the_defects_that_were_mixed_in(
    case: str, part_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(part_photos), "--weights", "random", "--case", case]
    assert bench_audit.main(options) == 0
    assert f"'case': '{case}'" in capsys.readouterr().err


def test_a_defect_photographed_again_is_not_the_same_file(part_photos: Path, tmp_path: Path) -> None:
    bench_audit.repeat_defect(scan_dataset(part_photos), 0, 10, tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 10 + bench_audit.REPEATS
    first, second = (cv2.imread(str(tmp_path / name)).astype(int) for name in names[:2])
    assert 1 < np.abs(first - second).mean() < 12


def test_a_tenth_is_defective(part_photos: Path, tmp_path: Path) -> None:
    bench_audit.mix_defects(scan_dataset(part_photos), 0, 500, tmp_path)
    assert len(list(tmp_path.glob("good*"))) == 16
    assert len(list(tmp_path.glob("defect*"))) == 2
