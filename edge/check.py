"""`edge-inspect check-config`: everything that a start would find wrong with a station file, without starting."""

from __future__ import annotations

from pathlib import Path

from edge.cameras.tables import FolderCamera, VideoCamera
from edge.config import StationConfig, load_config
from edge.product import open_recipes
from edge.view import View


def check_station(path: Path) -> list[str]:
    """Read the file, open every recipe's bundle and every mask, and say what was found, a line each.

    Raises ConfigError, BundleError, CalibrationError for the first thing that would keep the station from starting.
    Cameras are not opened, and sockets not bound: the station may be running.
    """
    config = load_config(path)
    lines = [f"{path}: station {config.station}"]
    for name, recipe in open_recipes(config, config.recipes).items():
        calibration, job = recipe.calibration, config.recipes[name].job
        by = f"{calibration.backend} {calibration.precision}"
        number = "" if job is None else f", job {job}"
        lines.append(f"recipe {name}: {recipe.bundle.info.product}, calibrated for {by}{number}")
    for name, table in config.cameras.items():
        View.of(table)
        kind = table.__struct_config__.tag
        lines.append(f"camera {name}: {kind}, begins with recipe {config.recipe_of(name)}")
    return [*lines, *_warnings(config)]


def _warnings(config: StationConfig) -> list[str]:
    """What does not keep the station from starting, and is likely wrong."""
    return [
        f"warning: camera {name}: nothing is at {table.path}; it will be waited for"
        for name, table in config.cameras.items()
        if isinstance(table, FolderCamera | VideoCamera) and not table.path.exists()
    ]
