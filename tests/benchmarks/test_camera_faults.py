from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from benchmarks.camera_faults import SOURCES, clock_source, main, missing, run
from engines.bundle import Bundle, update_bundle


@pytest.fixture
def picture(part_photos: Path) -> Path:
    return next(iter(sorted((part_photos / "test" / "good").iterdir())))


@pytest.fixture
def unguarded(bundle_copy: Callable[[Bundle], Bundle], calibrated_bundle: Bundle) -> Bundle:
    """A bundle that judges the parts of a synthetic camera, though they are not its own."""
    info = calibrated_bundle.info
    calibrations = tuple(msgspec.structs.replace(each, guards=()) for each in info.calibrations)
    return update_bundle(bundle_copy(calibrated_bundle), msgspec.structs.replace(info, calibrations=calibrations))


def test_bad_files_cost_no_part_and_are_said_at_once(tmp_path: Path, calibrated_bundle: Bundle, picture: Path) -> None:
    findings = {each.fault: each for each in run(tmp_path / "folder", calibrated_bundle.path, picture, "folder")}
    assert "the file is empty" in findings["0-byte file"].seen
    assert "truncated" in findings["file cut in half"].seen
    slow = findings["file written for a second"]
    assert (slow.notice_s, slow.undecidable) == (None, 0)
    assert findings["folder goes away for 2 s"].seen.startswith("Degraded: ")
    assert not any(each.lost for each in findings.values())


@pytest.mark.parametrize("name", ["clock", "log"])
def test_a_clock_set_back_and_a_full_disk_change_no_verdict(
    tmp_path: Path, unguarded: Bundle, picture: Path, name: str
) -> None:
    if missing(name):
        pytest.skip(missing(name))
    (finding,) = run(tmp_path / name, unguarded.path, picture, name)
    assert (finding.notice_s, finding.undecidable, finding.lost) == (None, 0, 0)


def test_the_shim_sets_the_wall_clock_and_not_the_monotonic_one(tmp_path: Path) -> None:
    if missing("clock"):
        pytest.skip(missing("clock"))
    with ExitStack() as stack:
        source = clock_source(stack, tmp_path, tmp_path)
    source.faults[0].inject()
    command = [*source.prefix, sys.executable, "-c", "import time; print(time.time(), time.monotonic())"]
    wall, monotonic = map(float, subprocess.check_output(command, text=True).split())
    assert time.time() - wall == pytest.approx(3600, abs=60)
    assert time.monotonic() - monotonic == pytest.approx(0, abs=60)


def test_every_source_has_a_name_and_others_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(SOURCES) == {"folder", "rtsp", "genicam", "lossy", "clock", "log"}
    with pytest.raises(SystemExit):
        main(["--source", "webcam"])
    assert "invalid choice: 'webcam'" in capsys.readouterr().err
