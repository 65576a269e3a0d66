from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.camera_faults import SOURCES, main, missing, run
from engines.bundle import Bundle


@pytest.fixture
def picture(part_photos: Path) -> Path:
    return next(iter(sorted((part_photos / "test" / "good").iterdir())))


def test_bad_files_cost_no_part_and_are_said_at_once(tmp_path: Path, calibrated_bundle: Bundle, picture: Path) -> None:
    findings = {each.fault: each for each in run(tmp_path / "folder", calibrated_bundle.path, picture, "folder")}
    assert "the file is empty" in findings["0-byte file"].seen
    assert "truncated" in findings["file cut in half"].seen
    slow = findings["file written for a second"]
    assert (slow.notice_s, slow.undecidable) == (None, 0)
    assert findings["folder goes away for 2 s"].seen.startswith("Degraded: ")
    assert not any(each.lost for each in findings.values())


def test_a_clock_set_back_changes_no_verdict(tmp_path: Path, calibrated_bundle: Bundle, picture: Path) -> None:
    if missing("clock"):
        pytest.skip(missing("clock"))
    (finding,) = run(tmp_path / "clock", calibrated_bundle.path, picture, "clock")
    assert (finding.notice_s, finding.undecidable, finding.lost) == (None, 0, 0)


def test_every_source_has_a_name_and_others_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(SOURCES) == {"folder", "rtsp", "genicam", "lossy", "clock"}
    with pytest.raises(SystemExit):
        main(["--source", "webcam"])
    assert "invalid choice: 'webcam'" in capsys.readouterr().err
