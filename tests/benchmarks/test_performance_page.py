"""The page of performance is what the stored measurements say, and so are its plots."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import fps_plot, latency_plot, performance_page
from benchmarks.performance_page import FOLDER, PAGE, PLOTS, main, page


def test_the_committed_page_and_plot_are_those_of_the_committed_measurements() -> None:
    measured = [json.loads((FOLDER / name).read_text()) for name in ("fps.json", "latency.json", "training.json")]
    assert PAGE.read_text(encoding="utf-8") == page(*measured)
    assert PLOTS["fps"].read_text(encoding="utf-8") == fps_plot.plot(measured[0]["rows"])
    assert PLOTS["latency"].read_text(encoding="utf-8") == latency_plot.plot(measured[1]["rows"])


def row(engine: str, precision: str, in_flight: int, fps: float) -> dict[str, object]:
    return {
        "backbone": "wide_resnet50_2",
        "engine": engine,
        "precision": precision,
        "batch": 1,
        "in_flight": in_flight,
        "fps": fps,
    }


def test_bars_are_as_long_as_their_figures() -> None:
    picture = ElementTree.fromstring(
        fps_plot.plot([row("a", "f32", 1, 40.0), row("b", "int8", 1, 80.0), row("b", "int8", 2, 160.0)])
    )
    widths = [float(bar.get("width", "0")) for bar in picture.iter() if bar.tag.endswith("rect")][1:]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    assert widths[2] == pytest.approx(4 * widths[0], abs=0.2)


def test_missing_measurements_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(performance_page, "FOLDER", tmp_path)
    assert main() == 2
    assert "run: make bench" in capsys.readouterr().err
