from __future__ import annotations

from pathlib import Path

from edge.config_reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_types_say() -> None:
    assert PAGE.read_text() == reference(), "run: python -m edge.config_reference > docs/configuration.md"


def test_a_row_tells_type_limits_default_and_meaning() -> None:
    row = "| `heartbeat_s` | number (above 0, at most 3600) | `1.0` | Interval of heartbeats."
    assert row in reference()


def test_every_key_is_explained() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 20
    assert all(len(row.split(" | ")[-1].strip(" |")) > 10 for row in rows)
