"""The first day's benchmark on drawn parts: nested draws, rows that are not measured twice, a curve."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import bench_day_zero
from engines.errors import DataError
from trainer.data import scan_dataset


def test_rows_are_measured_once_and_drawn(
    part_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "rows.json", tmp_path / "curve.svg"
    options = ["--data", str(part_photos), "--weights", "random", "--method", "patchcore", "anoco", "--photographs",
               "2", "4", "--draws", "1", "--json", str(out), "--plot", str(plot)]  # fmt: skip
    assert bench_day_zero.main(options) == 0
    rows = json.loads(out.read_text())
    assert [(row["method"], row["photographs"]) for row in rows] == [
        ("patchcore", 2), ("anoco", 2), ("patchcore", 4), ("anoco", 4)
    ]  # fmt: skip
    # Scratches on drawn parts are easy; there are no masks.
    assert all(row["image_auroc"] > 0.9 and row["aupro"] is None for row in rows)
    assert len(ElementTree.parse(plot).findall(".//{*}polyline")) == 2
    capsys.readouterr()
    assert bench_day_zero.main(options) == 0
    assert json.loads(out.read_text()) == rows
    assert "image_auroc" not in capsys.readouterr().err


def test_draws_are_nested_and_differ(part_photos: Path) -> None:
    dataset = scan_dataset(part_photos)
    assert bench_day_zero.drawn(dataset, 0, 10)[:5] == bench_day_zero.drawn(dataset, 0, 5)
    assert bench_day_zero.drawn(dataset, 0, 5) != bench_day_zero.drawn(dataset, 1, 5)
    with pytest.raises(DataError, match="expected 17 good photographs or more, found 16"):
        bench_day_zero.drawn(dataset, 0, 17)
