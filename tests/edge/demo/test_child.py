"""The demo's processes: told apart by how they end, and never left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.demo.child import Child, DemoError, run_command

# Nobody speaks there, so a subscriber waits for ever.
WAITING = ["watch", "--connect", "tcp://127.0.0.1:1", "--count", "1"]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_outcome_has_the_exit_code_and_what_was_said(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run_command(["watch", "--count", "0"], 60)
    assert outcome.code == 2
    assert "--count of at least 1" in outcome.errors
    assert "--count of at least 1" in capfd.readouterr().err


def test_command_that_takes_too_long_is_ended() -> None:
    before = set(children_of_this())
    with pytest.raises(DemoError, match="watch did not end within 2 s"):
        run_command(WAITING, 2)
    assert set(children_of_this()) == before


def test_leaving_the_block_ends_the_child(tmp_path: Path) -> None:
    before = set(children_of_this())
    with Child("subscriber", WAITING, tmp_path / "log") as child:
        assert child.ended is None
    assert child.ended is not None
    assert set(children_of_this()) == before


def test_failure_carries_the_last_lines(tmp_path: Path) -> None:
    with Child("daemon", ["run", "--config", str(tmp_path / "none.toml")], tmp_path / "daemon.log") as child:
        assert child.wait(60) == 2
        message = str(child.failure("ended early"))
    assert "the daemon ended early" in message
    assert "none.toml" in message


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with Child("subscriber", WAITING, tmp_path / "log") as child, pytest.raises(DemoError, match=r"within 0\.5 s"):
        child.wait(0.5)


def test_sigterm_leaves_no_process_behind(tmp_path: Path) -> None:
    program = (
        "import time; from pathlib import Path; from edge.demo.child import *\n"
        f"with ended_by_sigterm(), Child('subscriber', {WAITING!r}, Path({str(tmp_path / 'log')!r})):\n"
        "    print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        (child,) = children_of(process.pid)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    deadline = time.monotonic() + 10
    while not gone(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(child)


def children_of_this() -> list[int]:
    import os

    return children_of(os.getpid())
