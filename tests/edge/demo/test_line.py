"""The small line with a real daemon and a real subscriber."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.config import load_config
from edge.demo.child import DemoError
from edge.demo.line import run_line, station_file
from edge.demo.parts import encode_image
from edge.verdict import Evaluation
from engines.bundle import Bundle

RenderPart = Callable[..., NDArray[np.uint8]]


def test_every_part_gets_its_verdict(calibrated_bundle: Bundle, render_part: RenderPart, tmp_path: Path) -> None:
    parts = {f"part-{seed}.png": encode_image(render_part(seed, defect=seed % 2 == 1)) for seed in range(300, 306)}
    parts["torn.png"] = parts["part-300.png"][:2000]
    verdicts = run_line(calibrated_bundle.path, tmp_path, parts, takt_s=0.05)
    assert list(verdicts) == list(parts)
    assert verdicts.pop("torn.png").evaluation is Evaluation.NOT_DECIDABLE
    assert {name: verdict.evaluation is Evaluation.NOT_OK for name, verdict in verdicts.items()} == {
        f"part-{seed}.png": seed % 2 == 1 for seed in range(300, 306)
    }
    assert sorted(verdict.seq for verdict in verdicts.values()) == list(range(1, 7))
    assert (tmp_path / "verdicts.jsonl").read_text().count('"type":"verdict"') == 7
    assert "stopped" in (tmp_path / "daemon.log").read_text()


def test_daemon_that_cannot_start_is_told_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"the daemon ended with exit code 2(.|\n)*expected a bundle"):
        run_line(tmp_path / "no-bundle", tmp_path, {"part.png": b""}, takt_s=0)


@pytest.mark.parametrize("name", ["plain", 'quo"ted', "back\\slash", "ümlaut 1"])
def test_station_file_is_read_back_as_meant(tmp_path: Path, name: str) -> None:
    file = tmp_path / "station.toml"
    file.write_text(station_file(tmp_path / name / "bundle", tmp_path / name, "tcp://127.0.0.1:5"), encoding="utf-8")
    config = load_config(file)
    assert config.recipes["part"].bundle == tmp_path / name / "bundle"
    assert config.cameras["line"].path == tmp_path / name  # type: ignore[union-attr]
    assert config.publish.bind == "tcp://127.0.0.1:5"


def test_record_is_what_the_subscriber_printed(
    calibrated_bundle: Bundle, render_part: RenderPart, tmp_path: Path
) -> None:
    verdicts = run_line(calibrated_bundle.path, tmp_path, {"a.png": encode_image(render_part(400))}, takt_s=0)
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    (verdict,) = [line for line in lines if line["type"] == "verdict"]
    assert verdict["part_id"] == "a.png"
    assert verdict["score"] == verdicts["a.png"].score
    assert any(line["type"] == "heartbeat" and line["state"] == "Running" for line in lines)
