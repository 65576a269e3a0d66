"""Gateways between a socket that speaks like the daemon and a PLC that was not written with the gateway's library."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plc_program import PlcProgram
from edge.plc.tables import ModbusTable
from tests.edge.plc.vision import STATION, Vision

PATIENCE_S = 30.0


@pytest.fixture
def modbus_table(plc: PlcProgram) -> ModbusTable:
    """The way to it, with short times."""
    return ModbusTable(host="127.0.0.1", port=plc.port, timeout_s=1.0, retry_s=0.05, heartbeat_s=0.05)


class Line:
    """A gateway that runs, the PLC it drives, and what it has written down."""

    def __init__(self, plc: PlcProgram, process: subprocess.Popen[bytes], log: Path) -> None:
        self.plc = plc
        self.process = process
        self._log = log

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []

    def until(self, what: str, enough: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not enough():
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"{what} did not come; exit code {self.process.poll()}, last: {self.lines[-5:]}")
            time.sleep(0.005)

    def until_ready(self, ready: bool = True) -> None:
        self.until(f"ready {ready}", lambda: [x["ready"] for x in self.lines if x["event"] == "status"][-1:] == [ready])

    def until_fault(self, fault: str) -> None:
        self.until(fault, lambda: any(x["event"] == "fault" and x["fault"] == fault and x["began"] for x in self.lines))

    def until_ruled(self, number: int) -> None:
        self.until(f"ruling {number}", lambda: self.rulings(number))

    def rulings(self, number: int) -> list[str]:
        return [x["evaluation"] for x in self.lines if x["event"] == "ruling" and x["number"] == number]

    def enter(self, number: int) -> None:
        """A part passes the sensor."""
        self.plc.image.sensor = number
        self.plc.scan_once()

    def sort(self, number: int) -> int:
        """The part comes to the ejector; what the PLC makes of it."""
        self.plc.image.ejector = number
        self.plc.scan_once()
        return int(self.plc.image.decision[number])


Start = Callable[..., Line]


@pytest.fixture
def start(plc: PlcProgram, tmp_path: Path, endpoint: str, cli: tuple[str, ...]) -> Iterator[Start]:
    """`start(more="", cameras=("top",))`: a gateway with these settings of `[plc]`."""
    processes: list[subprocess.Popen[bytes]] = []

    def run(more: str = "", cameras: tuple[str, ...] = ("top",)) -> Line:
        log = tmp_path / "gateway.jsonl"
        tables = "".join(f'[cameras.{name}]\nkind = "folder"\npath = "in"\n' for name in cameras)
        station = tmp_path / "station.toml"
        station.write_text(
            f'station = "{STATION}"\n[recipes.flange]\nbundle = "b"\njob = 1\n{tables}[publish]\nbind = "{endpoint}"\n'
            f"[plc]\ntravel = 1.5\nmargin = 0.2\nhold_s = 0.2\npulse_s = 0.1\nsilence_s = 5\n{more}\n"
            f'[plc.modbus]\nhost = "127.0.0.1"\nport = {plc.port}\ntimeout_s = 2\nretry_s = 0.05\n'
            f'[plc.log]\npath = "{log}"\n'
        )
        processes.append(subprocess.Popen([*cli, "plc", "--config", str(station)]))
        return Line(plc, processes[-1], log)

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def vision(endpoint: str) -> Iterator[Vision]:
    with Vision(endpoint) as speaker:
        yield speaker
