"""`edge-inspect check-config`: everything that a start would find wrong with a station file, without starting."""

from __future__ import annotations

import sys
from pathlib import Path

from calibration.guards import Guards
from edge.cameras.tables import FolderCamera, VideoCamera
from edge.config import StationConfig, load_config
from edge.product import open_recipes
from edge.view import View
from engines.errors import DataError
from engines.preprocess import Preprocessing


def check_station(path: Path) -> list[str]:
    """Read the file, open every recipe's bundle and every mask, and say what was found, a line each.

    Raises ConfigError, BundleError, CalibrationError for the first thing that would keep the station from starting.
    Cameras are not opened, and sockets not bound: the station may be running.
    """
    config = load_config(path)
    lines = [f"{path}: station {config.station}"]
    recipes = open_recipes(config, config.recipes)
    for name, recipe in recipes.items():
        Guards.of(recipe.bundle, recipe.calibration)
        calibration, job = recipe.calibration, config.recipes[name].job
        by = f"{calibration.backend} {calibration.precision}"
        number = "" if job is None else f", job {job}"
        lines.append(f"recipe {name}: {recipe.bundle.info.product}, calibrated for {by}{number}")
    warnings = _absent(config)
    for name, table in config.cameras.items():
        recipe = recipes[config.recipe_of(name)]
        kind = table.__struct_config__.tag
        lines.append(f"camera {name}: {kind}, begins with recipe {recipe.name}")
        warnings += _blind(name, View.of(table).preprocessing(recipe.bundle.info.preprocessing))
    return [*lines, *warnings]


def _absent(config: StationConfig) -> list[str]:
    return [
        f"warning: camera {name}: nothing is at {table.path}; it will be waited for"
        for name, table in config.cameras.items()
        if isinstance(table, FolderCamera | VideoCamera) and not table.path.exists()
    ]


def _blind(name: str, preprocessing: Preprocessing) -> list[str]:
    """Whether no frame, however large, could be preprocessed so."""
    x, y, width, height = preprocessing.roi or (0, 0, sys.maxsize, sys.maxsize)
    try:
        preprocessing.region((y + height, x + width))
    except DataError as error:
        return [f"warning: camera {name}: every part would be NotDecidable: {error}"]
    return []
