from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge.check import check_station
from engines.bundle import Bundle
from engines.errors import BundleError, CalibrationError, ConfigError


def station_file(folder: Path, bundle: Path, camera: str = "") -> Path:
    path = folder / "station.toml"
    path.write_text(
        f'station = "s"\n[recipes.flange]\nbundle = "{bundle}"\njob = 4\n'
        f'[cameras.top]\nkind = "folder"\npath = "in"\n{camera}\n'
    )
    return path


def test_a_good_file_is_told_in_lines(cli, tmp_path: Path, calibrated_bundle: Bundle) -> None:
    path = station_file(tmp_path, calibrated_bundle.path)
    command = [*cli, "check-config", "--config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    calibration = calibrated_bundle.latest_calibration
    assert done.stdout.splitlines() == [
        f"{path}: station s",
        f"recipe flange: flange, calibrated for {calibration.backend} {calibration.precision}, job 4",
        "camera top: folder, begins with recipe flange",
        f"warning: camera top: nothing is at {tmp_path / 'in'}; it will be waited for",
    ]


@pytest.mark.parametrize(("roi", "warned"), [("[0, 0, 200, 150]", True), ("[5, 5, 640, 480]", False)])
def test_a_region_too_small_for_the_tiles_of_its_recipe_is_warned_of(
    tmp_path: Path, tiled_bundle: Bundle, roi: str, warned: bool
) -> None:
    (tmp_path / "in").mkdir()
    found = check_station(station_file(tmp_path, tiled_bundle.path, f"roi = {roi}"))
    expected = ["warning: camera top: every part would be NotDecidable: expected at least 238x180 pixels"]
    assert [line[: len(expected[0])] for line in found if line.startswith("warning")] == expected * warned


def test_what_would_keep_the_station_from_starting_is_an_error(
    tmp_path: Path, calibrated_bundle: Bundle, uncalibrated_bundle: Bundle
) -> None:
    with pytest.raises(BundleError):
        check_station(station_file(tmp_path, tmp_path / "nowhere"))
    with pytest.raises(CalibrationError):
        check_station(station_file(tmp_path, uncalibrated_bundle.path))
    with pytest.raises(ConfigError, match="ignore_mask"):
        check_station(station_file(tmp_path, calibrated_bundle.path, 'ignore_mask = "mask.png"'))
    with pytest.raises(ConfigError, match="unknown key"):
        check_station(station_file(tmp_path, calibrated_bundle.path, "colour = 1"))
