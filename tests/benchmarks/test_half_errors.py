"""The table of half precision's errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.half_errors import HEADER, largest_growth, load_parts, main, measure, variants
from engines.bundle import Bundle

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def rows(uncalibrated_bundle: Bundle, part_photos: Path) -> dict[str, list[float]]:
    table = measure(uncalibrated_bundle, load_parts(uncalibrated_bundle, part_photos, count=3))
    return {name: [float(figure) for figure in figures] for name, *figures in table}


def test_every_set_of_layers_has_its_line(rows: dict[str, list[float]]) -> None:
    assert list(rows) == ["everything", *variants()]
    assert all(len(figures) == len(HEADER) - 1 for figures in rows.values())
    assert 0 < rows["as built"][0] < 0.01


def test_what_stays_float32_is_worth_it(rows: dict[str, list[float]]) -> None:
    column = HEADER.index
    assert rows["without the score"][column("scores worst") - 1] > rows["as built"][column("scores worst") - 1]
    assert rows["without the means"][column("embeddings worst") - 1] > rows["as built"][column("embeddings worst") - 1]
    assert rows["and the stem"][column("patches rms") - 1] < rows["as built"][column("patches rms") - 1]


def test_the_largest_growth_is_that_of_a_layer(uncalibrated_bundle: Bundle, part_photos: Path) -> None:
    growth, layer = largest_growth(uncalibrated_bundle, load_parts(uncalibrated_bundle, part_photos, count=3))
    assert 0.1 < growth < 10
    assert layer


def test_a_folder_without_defects_is_refused(
    uncalibrated_bundle: Bundle, part_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = part_photos / "train" / "good"
    assert main(["--bundle", str(uncalibrated_bundle.path), "--data", str(good)]) == 2
    assert "expected good and defective parts in test/, found 0 and 0" in capsys.readouterr().err
