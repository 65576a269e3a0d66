from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.service.install import ServiceError, verify

PLC = '[plc]\ntravel = 1.0\nmargin = 0.1\n[plc.modbus]\nhost = "10.0.0.2"'
Install = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def install(peer, cli: tuple[str, ...], tmp_path: Path) -> Install:
    peer("systemd-analyze")
    (tmp_path / "units").mkdir()

    def run(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
        command = [*cli, "install-service", "--config", str(config), "--directory", str(tmp_path / "units"), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    return run


def test_it_writes_units_that_systemd_takes_and_finds_tight(install: Install, station_file, tmp_path: Path) -> None:
    done = install(station_file(PLC), "--web", "--realtime", "20", "--cpus", "0-1", "--user", "root")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "units").iterdir()} == {
        "edge-inspect.service",
        "edge-inspect-plc.service",
        "edge-inspect-web.service",
    }
    assert (
        "systemctl enable --now edge-inspect.service edge-inspect-plc.service edge-inspect-web.service" in done.stdout
    )


def test_a_station_without_a_plc_has_no_gateway(install: Install, station_file, tmp_path: Path) -> None:
    assert install(station_file()).returncode == 0
    assert [path.name for path in (tmp_path / "units").iterdir()] == ["edge-inspect.service"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--user", "nobody-of-that-name"), "there is no user"),
        (("--realtime", "100"), "expected --realtime from 1 to 99"),
        (("--cpus", "0\nExecStart=/bin/evil"), "expected --cpus like"),
        (("--watchdog", "1"), "at least 2 seconds"),
        (
            ("--directory", "/nowhere/at/all"),
            "cannot write /nowhere/at/all/edge-inspect.service: No such file or directory; make",
        ),
    ],
)
def test_what_cannot_be_is_one_line(install: Install, station_file, options: tuple[str, ...], problem: str) -> None:
    done = install(station_file(), *options)
    assert done.returncode == 2
    assert problem in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[Service]\nExecStart=/bin/true\nWatchdogSecs=3\n", "Unknown key.* 'WatchdogSecs'"),
        ("[Service]\nExecStart=/nowhere/at/all\n", "not executable|does not exist|No such file"),
        ("[Service]\nExecStart=/bin/true\n", "exposes more than 2.0"),
    ],
)
def test_what_systemd_finds_is_an_error(peer, text: str, problem: str) -> None:
    peer("systemd-analyze")
    with pytest.raises(ServiceError, match=problem):
        verify({"edge-inspect.service": text})
