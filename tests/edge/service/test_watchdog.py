from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.service.notifier import Notifier
from edge.service.watchdog import Watchdog


@dataclass
class Worker:
    """Something that moves or does not."""

    name: str
    moved_at: float = 0.0
    alive: bool = True


class Service:
    """A watchdog of 8 seconds, its clock, and what systemd hears of it."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.now = 0.0
        self.workers = [Worker("capture"), Worker("feeder")]
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "8000000"})
        self._sock = sock
        self._watchdog = Watchdog(notifier, lambda: self.workers, lambda: self.now)

    def feed_at(self, now: float) -> list[bytes]:
        self.now = now
        self._watchdog.feed()
        heard = []
        while True:
            try:
                heard.append(self._sock.recv(1000))
            except BlockingIOError:
                return heard


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield Service(sock, str(tmp_path / "notify"))


def test_it_is_fed_while_everybody_moves_and_no_more_often_than_needed(service: Service) -> None:
    heard = []
    for tenth in range(100):
        service.workers[0].moved_at = service.workers[1].moved_at = tenth / 10
        heard += service.feed_at(tenth / 10)
    assert heard == [b"WATCHDOG=1"] * 10


@pytest.mark.parametrize("stuck", [0, 1])
def test_one_stuck_worker_is_enough_to_keep_it_hungry(service: Service, stuck: int) -> None:
    service.workers[1 - stuck].moved_at = 1000.0
    assert service.feed_at(4.0) == [b"WATCHDOG=1"]
    assert service.feed_at(5.1) == [b"STATUS=stuck for 4 s: " + service.workers[stuck].name.encode()]
    assert service.feed_at(50.0) == []
    service.workers[stuck].moved_at = 51.0
    assert service.feed_at(51.0) == [b"WATCHDOG=1"]


def test_a_worker_that_has_ended_is_not_stuck(service: Service) -> None:
    service.workers[0].alive = False
    service.workers[1].moved_at = 100.0
    assert service.feed_at(100.0) == [b"WATCHDOG=1"]


def test_without_a_watchdog_nothing_is_asked() -> None:
    def workers() -> list[Worker]:
        raise AssertionError("nobody waits for a sign of life")

    Watchdog(Notifier({}), workers).feed()
