"""Station files for the tests of services."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = 'kind = "folder"\npath = "/srv/in"'
MakeStationFile = Callable[..., Path]


@pytest.fixture
def station_file(tmp_path: Path) -> MakeStationFile:
    """`station_file(more="", bundle=..., camera=...)`: a station file; `camera` is the table of its one camera."""

    def make(more: str = "", bundle: str = "/srv/bundles/flange", camera: str = FOLDER) -> Path:
        path = tmp_path / "station.toml"
        path.write_text(f'station = "line-1"\n[recipes.flange]\nbundle = "{bundle}"\n[cameras.top]\n{camera}\n{more}\n')
        return path

    return make
