from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bench_latency import main
from benchmarks.live_latency import SOURCES, measure_source, table
from engines.bundle import Bundle


@pytest.mark.parametrize("source", SOURCES)
def test_times_count_from_the_glass(
    tmp_path: Path, calibrated_bundle: Bundle, peer: Callable[[str], Path], source: str
) -> None:
    pytest.importorskip("gi")
    peer("arv-fake-gv-camera-0.8")
    calibration = calibrated_bundle.latest_calibration
    engine = (calibration.backend, calibration.precision)
    row = measure_source(tmp_path, calibrated_bundle.path, source, engine, frames=8, warmup=2)
    assert row["frames"] == 8
    assert 0 < row["over_engine_p50_ms"] <= row["glass_p50_ms"] <= row["glass_p99_ms"]
    assert source in table([row])


def test_a_peer_that_is_not_installed_is_one_line(
    calibrated_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main(["--quick", "--bundle", str(calibrated_bundle.path), "--source", "genicam"]) == 2
    assert "arv-fake-gv-camera-0.8 is not installed: make system-deps" in capsys.readouterr().err
