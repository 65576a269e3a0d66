"""The whole demonstration, with real commands in real processes and a random backbone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.demo.child import command_line
from edge.demo.show import QUICK, Size, show, verdict_table
from engines.errors import UsageError
from tests.edge.demo.stories import story

TINY = Size(10, 2, 2, 0, 1, 1, 1, 0.0, 240.0)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights file named, none cached, and no way out to fetch one."""
    monkeypatch.delenv("EDGE_INSPECT_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty-hub"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


@pytest.mark.usefixtures("no_weights")
def test_quick_demo_runs_from_photographs_to_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.run(
        command_line(["demo", "--quick", "--out", str(out)]), capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("BACKBONE IS RANDOM") == 1
    rows = [line for line in done.stdout.splitlines() if line.startswith("part-")]
    assert len(rows) == QUICK.line_good + QUICK.line_defective
    assert sum(row.split()[1] == "good" for row in rows) == QUICK.line_good
    assert f"of {QUICK.line_defective} defective ones escaped" in done.stdout
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Random backbone." in page
    assert page.count("<article") == len(rows)
    assert str(tmp_path) not in page, "a report is passed on, and paths of the machine are nobody's business"


@pytest.mark.usefixtures("no_weights")
def test_named_weights_that_are_missing_are_never_replaced_by_random_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGE_INSPECT_WEIGHTS", str(tmp_path / "mistyped.pth"))
    with pytest.raises(UsageError, match="edge-inspect train ended with exit code 2"):
        show(tmp_path / "out", "gasket", TINY)
    said = capfd.readouterr()
    assert "mistyped.pth" in said.err
    assert "RANDOM" not in said.out


def test_folder_of_a_user_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not the demo's"):
        show(tmp_path, "flange", TINY)
    assert (tmp_path / "thesis.tex").exists()


def test_unknown_kind_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gasket"):
        show(tmp_path / "out", "widget", TINY)
    assert not (tmp_path / "out").exists()


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="name another --out"):
        show(tmp_path / "file" / "out", "flange", TINY)


def test_table_says_what_went_wrong() -> None:
    table = verdict_table(story([None, "scratch", None, "dent"], [-0.4, -0.3, 0.4, None], weights="random, seed 0"))
    lines = table.splitlines()
    assert [line.split()[-1] for line in lines[2:4]] == ["ESCAPE", "REJECT"]
    assert "NotDecidable" in lines[4]
    assert lines[-1] == ("4 parts, random backbone: 1 of 2 defective ones escaped, 1 of 2 good ones were rejected")


def test_demo_needs_neither_trainer_nor_torch_of_its_own() -> None:
    program = (
        "import sys, edge.demo.show, edge.demo.commands\n"
        "sys.exit(any(name.split('.')[0] in ('torch', 'trainer') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, env=dict(os.environ)).returncode == 0
