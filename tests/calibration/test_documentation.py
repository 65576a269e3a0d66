from __future__ import annotations

from pathlib import Path

from calibration.binomial import rate_bound
from calibration.threshold import explain, parts_needed


def test_the_page_shows_the_table_that_the_command_prints() -> None:
    page = (Path(__file__).parents[2] / "docs" / "calibration.md").read_text(encoding="utf-8")
    assert explain() in page
    for rate, parts in (("1 %", 99), ("0.5 %", 199), ("0.1 %", 999)):
        assert parts_needed(float(rate.split()[0]) / 100) == parts
        assert f"{rate} takes {parts}" in page
    assert "95 % sure of 1 % with one threshold takes 299" in page
    assert rate_bound(299, 0) <= 0.01 < rate_bound(298, 0)
