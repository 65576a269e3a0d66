"""A browser that asks for events and does not read them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from edge.verdict import encode
from edge.web.users import Role, UserFile
from tests.edge.messages import beat, verdict
from tests.edge.web.conftest import PASSWORD, Client, StartWeb, Web, field


@pytest.fixture
def address(endpoint: str) -> Iterator[tuple[str, threading.Event]]:
    """A station that sends as fast as it can until the event is set."""
    enough = threading.Event()

    def send() -> None:
        with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
            publisher.setsockopt(zmq.LINGER, 0)
            publisher.bind(endpoint)
            publisher.recv()
            seq = 0
            while not enough.is_set():
                publisher.send_multipart([b"cell-7/heartbeat", encode(beat(seq, station="cell-7"))])
                for _ in range(50):
                    seq += 1
                    publisher.send_multipart([b"cell-7/verdict", encode(verdict(seq, station="cell-7"))])
                time.sleep(0.05)

    thread = threading.Thread(target=send)
    thread.start()
    yield endpoint, enough
    enough.set()
    thread.join()


def test_a_reader_that_reads_nothing_is_dropped_and_takes_no_memory(
    start_web: StartWeb, address: tuple[str, threading.Event]
) -> None:
    web: Web = start_web(publish=address[0])
    before_kib = _memory_kib(web)
    with socket.socket() as stuck, socket.create_connection(("127.0.0.1", web.port)) as reading:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", web.port))
        for connection in (stuck, reading):
            connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reading.settimeout(10)
        deadline = time.monotonic() + 60
        # Somebody else is served all the while.
        while "took nothing" not in web.stderr.read_text():
            assert reading.recv(1 << 20)
            assert time.monotonic() < deadline, web.stderr.read_text()
        assert reading.recv(1 << 20)
    assert _memory_kib(web) - before_kib < 40_000


def test_who_is_logged_out_or_removed_hears_nothing_more(
    start_web: StartWeb, address: tuple[str, threading.Event], tmp_path: Path
) -> None:
    users = UserFile(tmp_path / "users.json")
    for name in ("vera", "oleg"):
        users.add(name, Role.VIEWER, PASSWORD)
    web = start_web(f'users = "{users.path}"', publish=address[0])
    vera, oleg = web.client(), web.client()
    vera.log_in("vera")
    oleg.log_in("oleg")
    with _events(vera) as told_vera, _events(oleg) as told_oleg:
        assert told_vera.recv(1 << 20)
        users.remove("vera")
        while told_vera.recv(1 << 20):
            pass
        assert told_oleg.recv(1 << 20)
        assert oleg.post("/logout", {"csrf": field(oleg.get("/"), "csrf")}).status == 303
        while told_oleg.recv(1 << 20):
            pass


def _events(client: Client) -> socket.socket:
    """A stream of events that has begun."""
    stream = socket.create_connection(("127.0.0.1", client.port), timeout=30)
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    stream.sendall(f"GET /events HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
    assert b"200 OK" in stream.recv(1 << 10)
    return stream


def _memory_kib(web: Web) -> int:
    status = Path(f"/proc/{web.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
