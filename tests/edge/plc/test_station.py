from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge.sockets import local_address


@pytest.mark.parametrize(
    ("bind", "address"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555"),
        ("tcp://*:5555", "tcp://127.0.0.1:5555"),
        ("tcp://0.0.0.0:5555", "tcp://127.0.0.1:5555"),
        ("tcp://[::]:5555", "tcp://127.0.0.1:5555"),
        ("tcp://10.0.0.7:5555", "tcp://10.0.0.7:5555"),
        ("ipc:///run/edge-inspect/verdicts", "ipc:///run/edge-inspect/verdicts"),
    ],
)
def test_who_runs_beside_the_daemon_finds_it(bind: str, address: str) -> None:
    assert local_address(bind) == address


def test_a_station_without_a_plc_says_what_is_missing(tmp_path: Path, cli: tuple[str, ...]) -> None:
    station = tmp_path / "station.toml"
    station.write_text('station = "s"\n[recipes.r]\nbundle = "b"\n[cameras.top]\nkind = "folder"\npath = "in"\n')
    result = subprocess.run([*cli, "plc", "--config", str(station)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "expected a table [plc]" in result.stderr
