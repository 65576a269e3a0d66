from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.bench_guards import CHANGES, main, shift
from calibration.guards import GUARDS


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory, render_part: Callable[..., np.ndarray]) -> tuple[Path, Path]:
    """Flanges, and flanges upside down in colour, 30 in train/good, 3 in test/good, 2 in test/scratch."""
    root = tmp_path_factory.mktemp("guards")
    for name, turned in (("flange", False), ("negative", True)):
        for place, seeds in {
            "train/good": range(30),
            "test/good": range(40, 43),
            "test/scratch": range(50, 52),
        }.items():
            (root / name / place).mkdir(parents=True)
            for seed in seeds:
                part = render_part(seed, defect=place.endswith("scratch"))
                cv2.imwrite(str(root / name / place / f"{seed}.png"), 255 - part if turned else part)
    return root / "flange", root / "negative"


def test_rows_of_every_change_and_product(
    datasets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "guards.json"
    arguments = ["--weights", "random", "--engine", "onnxruntime", "--parts", "24", "--held-back", "6"]
    assert main(["--data", *map(str, datasets), *arguments, "--json", str(file)]) == 0
    rows = {(row["product"], row["pictures"]): row for row in json.loads(file.read_text())}
    assert len(rows) == 2 * (len(CHANGES) + 4)
    assert rows["flange", "lens cap"]["by"] == {"under_exposed": 6}
    other = rows["flange", "another product: negative"]
    assert other["stopped"] == other["count"] == 6
    good = rows["flange", "held-back good parts"]
    assert good["low"] <= good["stopped"] / good["count"] <= good["high"]
    assert 0 < good["promised"] < 1
    assert "| " not in capsys.readouterr().out


def test_every_change_belongs_to_a_guard() -> None:
    assert {guard for guard, _ in CHANGES.values()} == set(GUARDS) - {"wrong_part"}


def test_a_shift_moves_the_crop_by_a_twentieth() -> None:
    picture = np.zeros((256, 256), np.uint8)
    picture[:, 100] = 255
    assert abs(int(shift(picture)[128].argmax()) - (100 + 0.05 * 224)) < 1


def test_too_few_parts_are_named(datasets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", *map(str, datasets), "--weights", "random"]) == 2
    assert "expected 120 good parts" in capsys.readouterr().err
