from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge.audit.trail import AuditTrail
from engines.cli import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trail of two entries; the second was asked for by somebody with strange letters in their name."""
    trail = AuditTrail(tmp_path / "audit.jsonl", "cell-7")
    trail.append("armed", "root@cell", details={"cameras": {"top": {"recipe": "flange"}}})
    trail.append("recipe", "mallory\n\x1b[2J", "panel", {"request": {"recipe": "plate"}})
    return trail.path


def test_entries_are_listed_a_line_each(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit-log", str(path)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert '#1 armed by "root@cell" {}' in first
    assert '#2 recipe by "mallory\\n\\u001b[2J" with the key panel {"request":{"recipe":"plate"}}' in second


def test_entries_of_several_trails_are_merged(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = AuditTrail(tmp_path / "plc.jsonl", "cell-8")
    other.append("lockout", "root@cell")
    AuditTrail(path, "cell-7").append("stopped", "root@cell")
    assert main(["audit-log", "--json", str(other.path), str(path)]) == 0
    times = [json.loads(line)["at"] for line in capsys.readouterr().out.splitlines()]
    assert times == sorted(times)
    assert len(times) == 4


def test_a_station_file_names_its_trails(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    station = tmp_path / "station.toml"
    text = 'station = "cell-7"\n[recipes.a]\nbundle = "b"\n[cameras.top]\nkind = "folder"\npath = "in"\n'
    station.write_text(text + '[audit]\nfile = "audit.jsonl"\n')
    assert main(["audit-log", "--config", str(station), "--verify"]) == 0
    assert "audit.jsonl: 2 entries hold" in capsys.readouterr().out
    station.write_text(text)
    assert main(["audit-log", "--config", str(station)]) == 2


def test_verifying_tells_a_torn_end_from_tampering(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit-log", str(path), "--verify"]) == 0
    os.truncate(path, path.stat().st_size - 30)
    assert main(["audit-log", str(path), "--verify"]) == 0
    assert "is torn, as a power cut leaves it" in capsys.readouterr().out
    AuditTrail(path, "cell-7").append("armed", "root")
    assert main(["audit-log", str(path), "--verify"]) == 0
    assert "1 torn further up" in capsys.readouterr().out
    path.write_bytes(path.read_bytes().replace(b"root@cell", b"toor@cell"))
    assert main(["audit-log", str(path), "--verify"]) == 1
    assert "line 1: tampered with" in capsys.readouterr().err


def test_a_removed_end_is_found_with_what_was_logged_of_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    first, last = (json.loads(line)["sha256"] for line in lines)
    assert main(["audit-log", str(path), "--verify", "--expect", last]) == 0
    path.write_bytes(lines[0])
    assert main(["audit-log", str(path), "--verify"]) == 0
    assert main(["audit-log", str(path), "--verify", "--expect", first]) == 0
    assert main(["audit-log", str(path), "--verify", "--expect", last]) == 1
    assert "has been removed" in capsys.readouterr().err


def test_without_a_trail_it_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit-log"]) == 2
    assert "expected the files of trails, or --config" in capsys.readouterr().err
