"""What systemd hears of a real page, on its own kind of socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.web.watched import Watched
from edge.worker import Job, Worker
from tests.edge.web.conftest import PATIENCE_S, StartWeb


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(PATIENCE_S)
        yield sock


def test_systemd_hears_that_the_page_is_ready_alive_and_stopping(
    start_web: StartWeb, manager: socket.socket, tmp_path: Path
) -> None:
    web = start_web(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="1000000")
    assert manager.recv(1000) == f"READY=1\nSTATUS=shown on {web.url}".encode()
    assert [manager.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    assert web.client().get("/").status == 200
    assert web.end() == 0
    while (said := manager.recv(1000)) == b"WATCHDOG=1":
        pass
    assert said == b"STOPPING=1"


class Failing(Job):
    """Fails when it is told to."""

    def __init__(self) -> None:
        self.fail = threading.Event()

    def setup(self) -> None:
        pass

    def step(self, stopping: threading.Event) -> bool:
        if self.fail.wait(0.05):
            raise OSError("too many open files")
        return True

    def teardown(self) -> None:
        pass


def test_a_page_that_hears_nothing_any_more_ends_instead_of_showing_what_was() -> None:
    job = Failing()
    worker = Worker("listener", job)

    async def run() -> None:
        given_up = asyncio.Event()
        async with Watched("cell-7", "http://127.0.0.1:1", [worker], given_up.set):
            job.fail.set()
            await asyncio.wait_for(given_up.wait(), PATIENCE_S)

    worker.start()
    asyncio.run(run())
    assert not worker.alive
