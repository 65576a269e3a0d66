from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.two_cameras import growth_mib, main


@pytest.mark.parametrize(
    ("samples", "growth"),
    [([100.0] * 10, 0.0), ([50.0, 50.0, *[100.0] * 8], 0.0), ([100.0 + n for n in range(20)], 12.0), ([7.0], 0.0)],
)
def test_growth_is_told_without_the_warming_up(samples: list[float], growth: float) -> None:
    assert growth_mib(samples) == growth


def test_two_cameras_lose_no_part(tmp_path: Path) -> None:
    """A short run, on a machine that may be busy with other tests: overruns are NotDecidable, and nothing is lost."""
    main(["--seconds", "2", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["dropped"] == {}
    for camera in found["cameras"].values():
        assert camera["verdicts"] > 10
        assert camera["out_of_order"] == 0
        assert set(camera["undecidable"]) <= {"overrun"}
