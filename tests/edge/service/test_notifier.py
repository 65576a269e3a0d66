from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.service.notifier import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The socket that systemd would listen on, and how it names it to a service."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@edge-inspect-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name[1:] if name.startswith("@") else name)
        sock.settimeout(10)
        yield sock, name


@pytest.mark.parametrize(
    ("say", "heard"),
    [
        (lambda n: n.ready("line-1 is armed"), b"READY=1\nSTATUS=line-1 is armed"),
        (lambda n: n.status("two\nlines"), b"STATUS=two lines"),
        (lambda n: n.status("bad \udcff"), b"STATUS=bad ?"),
        (lambda n: n.alive(), b"WATCHDOG=1"),
        (lambda n: n.stopping(), b"STOPPING=1"),
    ],
)
def test_what_it_says_is_what_systemd_reads(
    manager: tuple[socket.socket, str], say: Callable[[Notifier], None], heard: bytes
) -> None:
    sock, name = manager
    say(Notifier({"NOTIFY_SOCKET": name}))
    assert sock.recv(1000) == heard


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_systemd_it_is_silent(environment: dict[str, str]) -> None:
    notifier = Notifier(environment)
    notifier.ready()
    notifier.alive()
    notifier.stopping()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "2500000"}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": str(os.getpid())}, 2.5),
        ({"WATCHDOG_USEC": "2500000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_the_one_meant_for_this_process(environment: dict[str, str], seconds: float) -> None:
    assert Notifier(environment).watchdog_s == seconds
