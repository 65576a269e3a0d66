from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.bench_tiles import contenders, main


def test_rows_of_the_whole_picture_and_of_tiles(
    plate_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tiles.json"
    arguments = ["--data", str(plate_photos), "--weights", "random", "--tiles", "1x2", "--engine", "onnxruntime"]
    assert main([*arguments, "--quick", "--json", str(file)]) == 0
    rows = {row["view"]: row for row in json.loads(file.read_text())}
    assert list(rows) == ["whole", "1x2 tiles"]
    assert rows["whole"]["ratio"] == 1
    assert rows["1x2 tiles"]["pixels"] == "486x256"
    assert all(0 <= row["image_auroc"] <= 1 and row["ms"] > 0 for row in rows.values())
    assert "486x256" in capsys.readouterr().out


def test_a_square_grid_has_a_square_of_as_many_pixels_beside_it() -> None:
    found = contenders([(2, 2), (2, 3)], 0.1)
    assert [contender.name for contender in found] == ["whole", "2x2 tiles", "one square", "2x3 tiles"]
    assert found[2].preprocessing.input_shape == (512, 512)


def test_bad_input_is_one_line(tmp_path: Path, plate_photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--weights", "random"]) == 2
    assert "no photographs in" in capsys.readouterr().err
    assert main(["--data", str(plate_photos), "--weights", "random", "--tiles", "3x3"]) == 2
    assert "expected at least 716x716 pixels for 3x3 tiles" in capsys.readouterr().err
