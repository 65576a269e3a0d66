"""A measurement says what it was taken on."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks import machine


def test_description_names_processor_versions_and_load() -> None:
    found = machine.describe_machine(packages=("numpy", "no-such-package"))
    assert json.loads(json.dumps(found)) == found
    assert found["cpu"]
    assert found["versions"] == {"numpy": version("numpy")}
    assert isinstance(found["load"], float)


def test_commit_marks_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    monkeypatch.setattr(machine, "REPOSITORY", tmp_path)
    assert machine.describe_machine()["commit"] == "unknown"
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "one")
    clean = str(machine.describe_machine()["commit"])
    assert len(clean) >= 7
    assert "dirty" not in clean
    (tmp_path / "file").write_text("2")
    assert machine.describe_machine()["commit"] == f"{clean}+dirty"
