"""A station on a network whose name server never answers: what asked it would hang at its start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.web.users import Role, UserFile
from tests.edge.web.conftest import PASSWORD, settings_of

NAMESPACES = ("--mount", "--uts", "--net")
# The machine's name is in no file, so that whoever wants to know it in full has to ask.
ALONE = """
set -e
ip link set lo up
hostname cell-7-without-a-name
printf 'nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n' >"$1/resolv.conf"
printf '127.0.0.1 localhost\\n' >"$1/hosts"
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/hosts" /etc/hosts
exec "$2" -c "$3" "$1"
"""
# Prints how many questions the page asked, then the metrics, then what is known to ask one.
STATION = """
import socket, sys
from pathlib import Path
from edge.metrics.exposition import StationCollector
from edge.metrics.server import MetricsServer
from edge.metrics.table import MetricsTable
from tests.edge.metrics.conftest import Figures, fetch
from tests.edge.web.conftest import Web

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
server.setblocking(False)

def asked():
    found = 0
    while True:
        try:
            server.recv(1000)
        except BlockingIOError:
            return found
        found += 1

folder = Path(sys.argv[1])
web = Web(folder, (folder / "settings").read_text())
web.client().get("/")
web.end()
print(asked())
table = MetricsTable(bind="0.0.0.0:0", allow_remote=True)
with MetricsServer("metrics", table, StationCollector(Figures())) as served:
    fetch("127.0.0.1:" + served.address.rpartition(":")[2], "/healthz")
print(asked())
socket.getfqdn()
print(asked() > 0)
"""


def test_neither_page_nor_metrics_ask_for_the_name_of_their_machine(
    tmp_path: Path, peer: Callable[[str], Path]
) -> None:
    for program in ("unshare", "ip", "hostname"):
        peer(program)
    if os.geteuid() != 0 or subprocess.run(["unshare", *NAMESPACES, "true"], check=False).returncode:
        pytest.skip("namespaces of its own take root")
    UserFile(tmp_path / "users.json").add("vera", Role.VIEWER, PASSWORD)
    settings = settings_of(f'users = "{tmp_path}/users.json"\nallow_plain = true')
    (tmp_path / "settings").write_text(settings.replace("127.0.0.1:0", "0.0.0.0:0"))
    command = ["unshare", *NAMESPACES, "bash", "-c", ALONE, "bash", str(tmp_path), sys.executable, STATION]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.stdout.split(), done.stderr) == (["0", "0", "True"], "")
