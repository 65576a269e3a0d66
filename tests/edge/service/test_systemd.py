"""The units under a real systemd, booted in namespaces of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from edge.keys import KeyFolder, Role
from engines.bundle import Bundle
from tests.conftest import RenderPart

BOOT = Path(__file__).with_name("boot.sh")
NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc", "--net")
PATIENCE_S = 60.0
PYTHON = Path(sys.executable)
VISION, GATEWAY, PAGE = "edge-inspect.service", "edge-inspect-plc.service", "edge-inspect-web.service"
# Reads an address of the page.
READ = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read())"
# A camera whose driver hangs when the test says so. The runtime directory is emptied when the service ends.
HANGING = """
import sys, time
from pathlib import Path
from edge.cameras.kinds import make_camera
from edge.config import load_config
from edge.daemon import run_station

config = load_config(Path(sys.argv[1]))
camera = make_camera(config.cameras["top"])
take = camera.read
def read(timeout_s):
    while Path("/run/edge-inspect/hang").exists():
        time.sleep(0.1)
    return take(timeout_s)
camera.read = read
sys.exit(run_station(config, {"top": camera}))
"""


class Machine:
    """A systemd and what runs under it."""

    def __init__(self, folder: Path) -> None:
        root = folder / "machine"
        root.mkdir()
        self._log = (folder / "boot.log").open("wb")
        self._boot = subprocess.Popen(
            ["unshare", *NAMESPACES, "bash", str(BOOT), str(root)], stdout=self._log, stderr=subprocess.STDOUT
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        children = Path(f"/proc/{self._boot.pid}/task/{self._boot.pid}/children").read_text().split()
        inside = ["nsenter", "--target", children[0], "--mount", "--pid", "--net", "--root", "--wd=/", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=PATIENCE_S)

    def do(self, *command: str) -> str:
        """Run a command that must succeed, and return what it prints."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.do("systemctl", "show", "--value", "--property", name, unit)

    def journal(self) -> str:
        """The last lines of the journal."""
        return self.run("journalctl", "--no-pager", "--lines=40").stdout

    def until(self, happened: Callable[[], object]) -> None:
        """Wait, and fail with the journal where it does not happen."""
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            if time.monotonic() > deadline:
                pytest.fail(f"it did not happen within {PATIENCE_S:g} s:\n{self.journal()}")
            time.sleep(0.1)

    def boots(self) -> bool:
        """Wait until systemd inside answers. False where it has ended or does not answer."""
        deadline = time.monotonic() + PATIENCE_S
        while self._boot.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, IndexError):  # it is not there yet
                if self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"):
                    return True
            time.sleep(0.1)
        return False

    def end(self) -> None:
        """Take everything away: the end of process 1 inside is the end of all others there."""
        self._boot.kill()
        self._boot.wait()
        self._log.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, calibrated_bundle: Bundle, render_part: RenderPart) -> Path:
    """A folder with a station file, its camera's folder, and the picture of a bad part."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "inbox").mkdir()
    for name in ("gateway", "page"):
        KeyFolder(folder / "keys").new_client(name, Role.READ, folder / f"{name}.key")
    (folder / "hanging.py").write_text(HANGING)
    (folder / "station.toml").write_text(
        f'station = "line-1"\n[recipes.flange]\nbundle = "{calibrated_bundle.path}"\n'
        f'[cameras.top]\nkind = "folder"\npath = "{folder}/inbox"\n'
        "[publish]\nheartbeat_s = 0.2\n"
        f'[security]\nkeys = "{folder}/keys"\n'
        f'[plc]\nkey = "{folder}/gateway.key"\ntravel = 2.0\nmargin = 0.2\nparts = "verdict"\nfire = "release"\n'
        '[plc.log]\npath = "/var/lib/edge-inspect-plc/line.jsonl"\n'
        '[archive]\nfolder = "/var/lib/edge-inspect/archive"\nkeep_free_gb = 0.001\n'
        '[live]\nbind = "ipc:///run/edge-inspect/live"\n'
        f'[web]\nbind = "127.0.0.1:8080"\nkey = "{folder}/page.key"\n'
    )
    cv2.imwrite(str(folder / "bad.png"), render_part(300, defect=True))
    return folder


@pytest.fixture(scope="module")
def machine(peer, tmp_path_factory: pytest.TempPathFactory, site: Path) -> Iterator[Machine]:
    """A booted systemd with the services of `site` installed."""
    for program in ("unshare", "nsenter", "ip", "systemctl"):
        peer(program)
    if os.geteuid() != 0:
        pytest.skip("booting a systemd in namespaces of its own takes root")
    folder = tmp_path_factory.mktemp("boot")
    machine = Machine(folder)
    try:
        if not machine.boots():
            pytest.skip(f"this machine lets no systemd boot in namespaces: {(folder / 'boot.log').read_text()}")
        install(machine, site)
        yield machine
    finally:
        machine.end()


def install(machine: Machine, site: Path, *options: str) -> None:
    """Write the units anew."""
    command = [str(PYTHON.with_name("edge-inspect")), "install-service", "--config", str(site / "station.toml")]
    machine.do(*command, "--watchdog=4", "--web", *options)
    machine.do("systemctl", "daemon-reload")


def active(machine: Machine, unit: str, but: str = "") -> str:
    """The process of a unit that runs, once it is another than `but`."""
    gone = (but, "0")  # systemd learns of an end a moment later
    machine.until(lambda: machine.show(unit, "MainPID") not in gone and machine.show(unit, "ActiveState") == "active")
    return machine.show(unit, "MainPID")


def test_it_starts_judges_and_writes_to_the_journal(machine: Machine, site: Path) -> None:
    machine.do("systemctl", "start", VISION)
    assert machine.show(VISION, "StatusText") == "Running"
    assert machine.show(VISION, "NRestarts") == "0"
    user = machine.do("ps", "-o", "user=", "-p", machine.show(VISION, "MainPID"))
    assert user not in ("root", "0")
    machine.do("cp", f"{site}/bad.png", f"{site}/inbox/bad-1.png")
    journal = ("journalctl", "--unit", VISION, "VERDICT=NotOK", "--output=json")
    machine.until(lambda: machine.run(*journal).stdout.strip())
    entry = json.loads(machine.do(*journal).splitlines()[0])
    assert (entry["STATION"], entry["CAMERA"], entry["PART_ID"]) == ("line-1", "top", "bad-1.png")
    assert (entry["SEQ"], entry["FRAME_ID"], entry["PRIORITY"]) == ("1", "1", "6")


def test_keys_that_only_root_can_read_are_credentials(machine: Machine, site: Path) -> None:
    machine.do("systemctl", "start", VISION, GATEWAY)
    machine.do("cp", f"{site}/bad.png", f"{site}/inbox/bad-2.png")
    log = "/var/lib/edge-inspect-plc/line.jsonl"
    machine.until(lambda: "NotOK" in machine.run("cat", log).stdout)
    assert "refused a connection" not in machine.do("journalctl", "--no-pager", "--unit", VISION)
    assert machine.run("runuser", "--user", "nobody", "--", "cat", f"{site}/gateway.key").returncode != 0


def test_the_page_reads_the_archive_and_the_pictures_of_the_daemon_whose_user_it_is(
    machine: Machine, site: Path
) -> None:
    def read(path: str) -> str:
        return machine.run(str(PYTHON), "-c", READ, f"http://127.0.0.1:8080{path}").stdout

    machine.do("systemctl", "start", VISION, PAGE)
    assert machine.show(PAGE, "StatusText") == "shown on http://127.0.0.1:8080"
    users = {machine.do("ps", "-o", "uid=", "-p", machine.show(unit, "MainPID")) for unit in (VISION, PAGE)}
    assert len(users) == 1
    assert users.isdisjoint({"0"})
    accounts = "/var/lib/edge-inspect/web-users.json"
    add = f"{PYTHON.with_name('edge-inspect')} web-user add vera --users {accounts}"
    machine.do("sh", "-c", f"echo a long password | {add}")
    assert machine.do("stat", "--format=%u", accounts) in users
    machine.do("cp", f"{site}/bad.png", f"{site}/inbox/bad-3.png")
    machine.until(lambda: "bad-3.png" in read("/rejects"))
    assert machine.do("find", "/var/lib/edge-inspect/archive/pictures", "-name", "*.map.png", "-size", "+0")
    assert "bad-3.png" in read("/live/top?after=0")


def test_one_that_is_killed_is_started_again_and_the_gateway_outlives_it(machine: Machine, site: Path) -> None:
    machine.do("systemctl", "start", VISION, GATEWAY)
    before, gateway = active(machine, VISION), active(machine, GATEWAY)
    machine.do("kill", "-KILL", before)
    active(machine, VISION, but=before)
    assert machine.show(VISION, "NRestarts") == "1"
    assert active(machine, GATEWAY) == gateway


def test_a_worker_that_hangs_is_noticed_by_the_watchdog_though_all_others_go_on(machine: Machine, site: Path) -> None:
    machine.do("mkdir", "-p", f"/run/systemd/system/{VISION}.d")
    dropin = (
        f"[Service]\nExecStart=\nExecStart={PYTHON} {site}/hanging.py {site}/station.toml\n"
        f"BindReadOnlyPaths={site}/hanging.py\n"
    )
    machine.do("sh", "-c", f"printf '%s' '{dropin}' >/run/systemd/system/{VISION}.d/hanging.conf")
    machine.do("systemctl", "daemon-reload")
    machine.do("systemctl", "restart", VISION)
    before = active(machine, VISION)
    time.sleep(5)
    assert active(machine, VISION) == before, "a daemon that works was taken for one that hangs"
    machine.do("touch", "/run/edge-inspect/hang")
    active(machine, VISION, but=before)
    journal = machine.do("journalctl", "--no-pager")
    assert "Watchdog timeout (limit 4s)!" in journal
    assert "stuck for 2 s: top.capture" in journal
    machine.do("rm", f"/run/systemd/system/{VISION}.d/hanging.conf")
    machine.do("systemctl", "daemon-reload")


def test_a_whole_process_that_stands_still_is_killed_and_started_again(machine: Machine, site: Path) -> None:
    machine.do("systemctl", "restart", GATEWAY, PAGE)
    before = {unit: active(machine, unit) for unit in (GATEWAY, PAGE)}
    machine.do("kill", f"-{signal.SIGSTOP.value}", *before.values())
    for unit, process in before.items():
        active(machine, unit, but=process)


def test_it_stops_in_order(machine: Machine, site: Path) -> None:
    machine.do("systemctl", "restart", VISION, GATEWAY, PAGE)
    machine.do("systemctl", "stop", VISION, GATEWAY, PAGE)
    for unit in (VISION, GATEWAY, PAGE):
        assert (machine.show(unit, "Result"), machine.show(unit, "ExecMainStatus")) == ("success", "0")


def test_priority_and_cpus_are_as_asked_for(machine: Machine, site: Path) -> None:
    install(machine, site, "--realtime=5", "--cpus=0")
    machine.do("systemctl", "restart", GATEWAY)
    process = active(machine, GATEWAY)
    scheduling = machine.do("chrt", "--pid", process)
    assert "SCHED_FIFO" in scheduling
    assert scheduling.endswith("5")
    assert machine.do("taskset", "--cpu-list", "--pid", process).endswith(": 0")


def test_a_station_file_that_is_wrong_is_not_tried_again(machine: Machine, site: Path) -> None:
    machine.do("sed", "-i", "s/kind/kinds/", f"{site}/station.toml")
    assert machine.run("systemctl", "restart", VISION).returncode != 0
    machine.until(lambda: machine.show(VISION, "ActiveState") == "failed")
    assert machine.show(VISION, "ExecMainStatus") == "2"
    assert "cameras.top" in machine.journal()
