"""Rows survive, tables line up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results import append_row, format_table, load_rows, summarise
from engines.errors import DataError


def test_rows_are_appended_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    assert load_rows(path) == []
    append_row(path, {"seed": 0, "aupro": None})
    append_row(path, {"seed": 1, "aupro": 0.5})
    assert load_rows(path) == [{"seed": 0, "aupro": None}, {"seed": 1, "aupro": 0.5}]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.json"]


@pytest.mark.parametrize("content", ["", "[{]", json.dumps({"seed": 0}), json.dumps([1])])
def test_a_file_of_something_else_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"rows\.json"):
        append_row(path, {"seed": 0})
    assert path.read_text() == content


def test_a_missing_folder_is_found_out_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="existing folder"):
        load_rows(tmp_path / "none" / "rows.json")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.9], "90.0"), ([0.9, 0.8], "85.0 ± 7.1"), ([0.9, None], "-"), ([None], "-"), ([], "-")],
)
def test_summary_is_mean_and_sample_deviation_in_percent(values: list[float | None], expected: str) -> None:
    assert summarise(values) == expected


def test_table_lines_up_plainly_and_as_markdown() -> None:
    assert format_table(["a", "bb"], [["ccc", "d"]]) == "a    bb\nccc  d"
    assert format_table(["a", "bb"], [["ccc", "d"]], markdown=True) == "| a   | bb |\n| --- | -- |\n| ccc | d  |"
