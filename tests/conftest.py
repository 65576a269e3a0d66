"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the research photographs and ImageNet weights: EDGE_INSPECT_SHARED, or `shared` beside the checkout."""
    folder = Path(os.environ.get("EDGE_INSPECT_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no research photographs at {folder} (set EDGE_INSPECT_SHARED); they are not part of the project")
    return folder
