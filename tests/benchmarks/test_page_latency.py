from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.page_latency import PLACES, delays_ms, main, table
from tests.edge.messages import verdict

SAID_MS = 1_767_225_600_000  # 2026-01-01T00:00:00 UTC


def test_delays_count_from_the_message_of_that_very_part() -> None:
    rejects = [
        msgspec.structs.replace(verdict(n), part_id=f"part-{n}.png", sent_at=f"2026-01-01T00:00:0{n}.000+00:00")
        for n in (1, 2)
    ]
    seen = [
        {"place": "lamp", "text": "part-1.png", "at_ms": SAID_MS + 1020.5},
        {"place": "lamp", "text": "part-2.png", "at_ms": SAID_MS + 2030.0},
        {"place": "picture", "text": "live picture of top: part-2.png, NotOK", "at_ms": SAID_MS + 2100.0},
    ]
    assert delays_ms(rejects, seen) == {"lamp": [20.5, 30.0], "picture": [100.0], "gallery": []}


def test_the_table_says_how_many_were_seen() -> None:
    rows = [{"place": place, "rejects": 3, "seen": 2, "p50": 10.0, "p99": 20.0, "max": 30.0} for place in PLACES]
    assert "2 of 3" in table(rows)


def test_a_folder_that_is_missing_is_told_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--json", str(tmp_path / "nowhere" / "a.json")]) == 2
    assert "create the folder" in capsys.readouterr().err
