"""The distances between good parts, from a few drawn photographs and a random backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.feature_distances import main
from edge.demo.parts import write_dataset


def test_prints_a_line_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "flange", "flange", train=22, good=0, defective=0)
    assert main(["--data", str(tmp_path / "flange"), "--weights", "random", "--markdown"]) == 0
    header, _, line = capsys.readouterr().out.strip().splitlines()
    cells = dict(zip(header.strip("| ").split(" | "), line.strip("| ").split(" | "), strict=True))
    figures = {name.strip(): text.strip() for name, text in cells.items()}
    assert figures["set"] == "flange"
    assert float(figures["noise length"]) == pytest.approx(0.015 * 384**0.5, abs=0.005)
    percentiles = [float(figures[f"{p} %"]) for p in (1, 10, 50, 90)]
    assert 0 < percentiles[0] < percentiles[-1] <= float(figures["largest in a part, median"])


def test_too_few_parts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "flange", "flange", train=3, good=0, defective=0)
    assert main(["--data", str(tmp_path / "flange"), "--weights", "random"]) == 2
    assert "more than 20 good parts" in capsys.readouterr().err
