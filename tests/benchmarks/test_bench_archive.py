from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench_archive
from benchmarks.archive_parts import Line
from benchmarks.bench_archive import ArchiveBenchError, main, measure_kills
from edge.archive.index import PICTURES, ArchiveIndex
from edge.archive.part import Kept, Query


def test_a_small_run_measures_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "archive.json"
    arguments = ["--rows", "3000", "--pictures", "20", "--kills", "1", "--folder", str(tmp_path), "--json", str(path)]
    assert main(arguments) == 0
    found = json.loads(path.read_text())
    assert {row["search"]: row["found"] for row in found["searches"]}["newest"] == 50
    assert found["retention"]["removed"] > 0
    assert found["killed"]["acknowledged"] > 0
    assert "worst p95" in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["archive.json"]


def test_parts_are_as_they_are_said_to_be() -> None:
    entries = list(Line(10_000).entries(0, 10_000, pictures=False))
    assert sum(entry.kept is Kept.REJECT for entry in entries) == 10_000 // 50 + 10_000 // 500
    assert sum(entry.drawn for entry in entries) == 100
    assert {entry.frame is None for entry in entries} == {True}
    assert entries[0].verdict.captured_at < entries[-1].verdict.captured_at


@pytest.mark.parametrize(("harm", "said"), [("file", r"[1-9]\d* orphan files"), ("part", "acknowledged parts lost")])
def test_what_a_kill_would_cost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, said: str) -> None:
    killed = bench_archive._killed

    def harmed(folder: Path, seconds: float) -> list[int]:
        keys = killed(folder, 0.0)
        if harm == "file":
            (folder / PICTURES / "7.png").write_bytes(b"")  # where no start looks for any
            return keys
        with ArchiveIndex.open(folder) as index:
            (part,) = index.search(Query(), 1)
        return [*keys, part.key + 1_000_000]

    monkeypatch.setattr(bench_archive, "_killed", harmed)
    with pytest.raises(ArchiveBenchError, match=said):
        measure_kills(tmp_path, 1)
