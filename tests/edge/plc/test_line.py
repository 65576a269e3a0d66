"""The whole way: a PLC's counter, a trigger, a picture, a verdict, a word in the PLC; three processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gateway_journal import Journal
from benchmarks.plc_program import PlcProgram
from engines.bundle import Bundle

PATIENCE_S = 60.0


@contextmanager
def processes(cli: tuple[str, ...], station: Path) -> Iterator[None]:
    running = [subprocess.Popen([*cli, command, "--config", str(station)]) for command in ("run", "plc")]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_a_part_at_the_sensor_is_photographed_judged_by_the_job_of_the_plc_and_told_of(
    plc: PlcProgram, tmp_path: Path, cli: tuple[str, ...], endpoint: str, calibrated_bundle: Bundle
) -> None:
    station, journal = tmp_path / "station.toml", Journal(tmp_path / "gateway.jsonl")
    station.write_text(
        f'station = "cell-7"\n[recipes.flange]\nbundle = "{calibrated_bundle.path}"\njob = 1\n'
        f'[recipes.rim]\nbundle = "{calibrated_bundle.path}"\njob = 2\n'
        '[cameras.top]\nrecipe = "flange"\nkind = "synthetic"\ntrigger = "software"\npictures = 2\n'
        "[engine]\nin_flight = 1\n"
        f'[publish]\nbind = "{endpoint}"\n[control]\nbind = "ipc://{tmp_path}/control"\n'
        "[plc]\ntravel = 5.0\nmargin = 0.5\ntrigger_cameras = true\ntrigger_limit_s = 2\nsilence_s = 5\n"
        f'[plc.modbus]\nhost = "127.0.0.1"\nport = {plc.port}\ntimeout_s = 2\nretry_s = 0.05\n'
        f'[plc.log]\npath = "{tmp_path}/gateway.jsonl"\n'
    )
    plc.image.job = 2
    with processes(cli, station):
        until(journal.ready, "Ready")
        plc.image.sensor = 1
        until(lambda: plc.image.result_ns[1], "a word on the part")
        until(lambda: find(journal, "ruling"), "the ruling")
    (ruling,) = find(journal, "ruling")
    assert (ruling["number"], ruling["evaluation"] in ("OK", "NotOK")) == (1, True), ruling
    asked = [line["request"] for line in find(journal, "asked")]
    assert (asked[0]["recipe"], asked[-1]["part_id"]) == ("rim", "1")
    assert find(journal, "status")[-1]["job"] == 2


def find(journal: Journal, event: str) -> list[dict[str, Any]]:
    return [line for line in journal.lines() if line["event"] == event]


def until(enough: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not enough():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come")
        time.sleep(0.02)
