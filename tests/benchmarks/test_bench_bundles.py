from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.bench_bundles import main
from engines.bundle import Bundle


def test_a_bundle_beside_itself(calibrated_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "rows.json", str(calibrated_bundle.path)
    arguments = ["--bundle", folder, folder, "--engine", "onnxruntime", "--turns", "5"]
    assert main([*arguments, "--json", str(file)]) == 0
    first, second = json.loads(file.read_text())
    assert (first["bundle"], first["engine"], first["ratio"]) == ("flange", "onnxruntime f32", 1)
    assert second["ratio"] > 0
    assert "to the first" in capsys.readouterr().out


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bundle", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
