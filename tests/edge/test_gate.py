"""Real sockets on loopback: who is let in, who is refused, and what the log says."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from edge.client import Subscriber
from edge.config import SecurityTable
from edge.gate import Gate, open_gate, reachable
from edge.keys import KeyFolder, Role, StationKey, read_client_key
from edge.verdict import Heartbeat, encode
from engines.errors import ConfigError
from tests.edge.messages import verdict


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(tmp_path / "keys")
    for name, role in (("panel", Role.READ), ("gateway", Role.CONTROL), ("gone", Role.CONTROL)):
        folder.new_client(name, role, tmp_path / f"{name}.key")
    folder.revoke("gone")
    return folder


class Station:
    """A guarded publisher that is attended whenever the test waits for something."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: KeyFolder, endpoint: str) -> None:
        self.socket = context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.gate = Gate(context, folder)
        self.gate.guard(self.socket)
        self.socket.bind(endpoint)

    def until(self, happened: Callable[[], object], limit_s: float = 30.0) -> bool:
        deadline = time.monotonic() + limit_s
        while not happened():
            if time.monotonic() > deadline:
                return False
            self.gate.attend()
            time.sleep(0.01)
        return True


@pytest.fixture
def station(folder: KeyFolder, endpoint: str) -> Iterator[Station]:
    with zmq.Context() as context:
        station = Station(context, folder, endpoint)
        yield station
        station.gate.close()
        station.socket.close()


def test_a_client_of_the_list_reads_verdicts(station: Station, endpoint: str, tmp_path: Path) -> None:
    with Subscriber(endpoint, key=tmp_path / "panel.key") as subscriber:
        assert station.until(lambda: station.socket.poll(0))
        station.socket.send_multipart([b"a/verdict", encode(verdict(1))])
        assert subscriber.receive(30.0) == verdict(1)


def foreign_key(tmp_path: Path) -> Path:
    KeyFolder(tmp_path / "other").new_client("panel", Role.READ, tmp_path / "other.key")
    known = msgspec.structs.replace(
        read_client_key(tmp_path / "other.key"), station=read_client_key(tmp_path / "panel.key").station
    )
    (tmp_path / "other.key").write_bytes(msgspec.json.encode(known))
    return tmp_path / "other.key"


def wrong_station(tmp_path: Path) -> Path:
    public = zmq.curve_keypair()[0].decode()
    key = msgspec.structs.replace(read_client_key(tmp_path / "panel.key"), station=public)
    (tmp_path / "wrong.key").write_bytes(msgspec.json.encode(key))
    (tmp_path / "wrong.key").chmod(0o600)
    return tmp_path / "wrong.key"


@pytest.mark.parametrize(
    ("key_of", "logged"),
    [
        (foreign_key, "refused a connection from 127.0.0.1: an unknown key"),
        (
            lambda folder: folder / "gone.key",
            "from 127.0.0.1: the key of 'gone' was revoked at 20",
        ),
        (lambda folder: None, "no encryption, a wrong key of the station"),
        (wrong_station, "no encryption, a wrong key of the station"),
    ],
    ids=["wrong key", "revoked key", "plain text", "wrong key of the station"],
)
def test_everybody_else_is_refused_and_logged(
    station: Station,
    endpoint: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    key_of: Callable[[Path], Path | None],
    logged: str,
) -> None:
    with caplog.at_level(logging.WARNING), Subscriber(endpoint, key=key_of(tmp_path)) as subscriber:
        assert station.until(lambda: logged in caplog.text), caplog.text
        assert not station.until(lambda: station.socket.poll(0), 0.3)
        station.socket.send_multipart([b"a/verdict", encode(verdict(1))])
        assert subscriber.receive(0.3) is None


def test_plain_text_that_is_no_zeromq_is_refused(station: Station, endpoint: str) -> None:
    port = int(endpoint.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as probe:
        probe.sendall(b"GET / HTTP/1.0\r\n\r\n" + bytes(200))
        probe.settimeout(0.1)

        def ended() -> bool:
            try:
                return probe.recv(1000) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        assert station.until(ended)


def test_a_client_has_the_role_of_its_name_until_it_is_revoked(station: Station, folder: KeyFolder) -> None:
    assert (station.gate.role("panel"), station.gate.role("gateway")) == (Role.READ, Role.CONTROL)
    assert station.gate.role("gone") is station.gate.role("nobody") is None
    assert not station.gate.lost_somebody()
    folder.revoke("panel")
    assert station.gate.role("panel") is None
    assert station.gate.lost_somebody()
    assert not station.gate.lost_somebody()


def test_a_client_that_is_added_is_no_loss_and_let_in_at_once(
    station: Station, folder: KeyFolder, endpoint: str, tmp_path: Path
) -> None:
    folder.new_client("new", Role.READ, tmp_path / "new.key")
    assert not station.gate.lost_somebody()
    with Subscriber(endpoint, key=tmp_path / "new.key"):
        assert station.until(lambda: station.socket.poll(0))


def test_with_a_list_that_cannot_be_read_nobody_is_let_in(
    station: Station, folder: KeyFolder, endpoint: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.path / "clients" / "panel.json").write_bytes(b"nonsense")
    with caplog.at_level(logging.WARNING), Subscriber(endpoint, key=tmp_path / "gateway.key"):
        assert station.until(lambda: "panel.json is no file that" in caplog.text)
        assert not station.until(lambda: station.socket.poll(0), 0.3)
    assert station.gate.role("gateway") is None


def test_without_its_gate_a_guarded_socket_lets_nobody_in(station: Station, endpoint: str, tmp_path: Path) -> None:
    station.gate.close()
    with Subscriber(endpoint, key=tmp_path / "panel.key"):
        assert not station.socket.poll(500)


def test_a_flood_of_refusals_is_a_few_lines(station: Station, endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), zmq.Context() as context:
        for _ in range(50):
            with context.socket(zmq.SUB) as plain:
                plain.setsockopt(zmq.LINGER, 0)
                plain.connect(endpoint)
                station.until(lambda: False, 0.02)
        assert 1 <= len(caplog.records) <= 10


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("tcp://127.0.0.1:5555", False),
        ("tcp://127.1.2.3:5555", False),
        ("tcp://localhost:5555", False),
        ("tcp://lo:5555", False),
        ("tcp://[::1]:5555", False),
        ("ipc:///run/edge.sock", False),
        ("tcp://*:5555", True),
        ("tcp://0.0.0.0:5555", True),
        ("tcp://[::]:5555", True),
        ("tcp://192.0.2.1:5555", True),
        ("tcp://eth0:5555", True),
        ("tcp://localhost.example.com:5555", True),
        ("tcp://nonsense", True),
    ],
)
def test_what_a_network_can_reach(address: str, expected: bool) -> None:
    assert reachable(address) is expected


def test_an_address_that_a_network_can_reach_takes_keys_or_a_word(folder: KeyFolder) -> None:
    with zmq.Context() as context:
        with pytest.raises(ConfigError, match=r"publish.bind: other machines can reach tcp://\*:5555.*keys new"):
            open_gate(context, "publish.bind", "tcp://*:5555", SecurityTable())
        assert open_gate(context, "publish.bind", "tcp://*:5555", SecurityTable(allow_plain=True)) is None
        assert open_gate(context, "publish.bind", "tcp://127.0.0.1:5555", SecurityTable()) is None
        assert open_gate(context, "publish.bind", "ipc:///tmp/x", SecurityTable(keys=folder.path)) is None


@pytest.mark.parametrize("address", ["tcp://*:5555", "tcp://127.0.0.1:5555"])
def test_with_keys_every_tcp_socket_has_a_gate(folder: KeyFolder, address: str) -> None:
    with zmq.Context() as context:
        gate = open_gate(context, "publish.bind", address, SecurityTable(keys=folder.path))
        assert gate is not None
        gate.close()


@pytest.mark.parametrize(
    "question",
    [
        [b"1.0"],
        [b"1.0", b"1", b"edge-inspect", b"127.0.0.1", b"", b"NULL"],
        [b"2.0", b"1", b"edge-inspect", b"127.0.0.1", b"", b"CURVE", bytes(32)],
        [b"1.0", b"1", b"edge-inspect", b"127.0.0.1", b"", b"PLAIN", b"a"],
        [b"1.0", b"1", b"edge-inspect", b"127.0.0.1", b"", b"CURVE", bytes(32)],
    ],
)
def test_a_question_that_is_no_known_key_is_answered_with_no(station: Station, question: list[bytes]) -> None:
    with zmq.Socket(station.socket.context, zmq.REQ) as asker:
        asker.setsockopt(zmq.LINGER, 0)
        asker.connect("inproc://zeromq.zap.01")
        asker.send_multipart(question)
        assert station.until(lambda: asker.poll(0))
        assert asker.recv_multipart()[2] == b"400"


def test_the_station_key_is_the_one_on_disk(folder: KeyFolder) -> None:
    assert isinstance(folder.station_key(), StationKey)


def test_a_real_daemon_serves_those_with_a_key_and_nobody_else(
    start_daemon: Callable[..., object], cli: tuple[str, ...], folder: KeyFolder, endpoint: str, tmp_path: Path
) -> None:
    (tmp_path / "inbox").mkdir()
    control = f"tcp://127.0.0.1:{free_port()}"
    start_daemon(
        f'kind = "folder"\npath = "{tmp_path}/inbox"',
        f'[control]\nbind = "{control}"\n[security]\nkeys = "{folder.path}"',
    )

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*cli, *command], capture_output=True, text=True, check=False, timeout=120)

    panel, gateway = str(tmp_path / "panel.key"), str(tmp_path / "gateway.key")
    with Subscriber(endpoint, key=tmp_path / "panel.key") as subscriber:
        assert isinstance(subscriber.receive(60.0), Heartbeat)
    assert '"state": "' in run("control", "--connect", control, "--key", panel, "status").stdout
    assert "does not allow that" in run("control", "--connect", control, "--key", panel, "self-test").stderr
    assert "does not allow that" not in run("control", "--connect", control, "--key", gateway, "self-test").stderr
    assert "has not answered" in run("control", "--connect", control, "--timeout", "0.5", "status").stderr
    assert "does it want a --key?" in run("watch", "--connect", endpoint, "--timeout", "0.5").stderr


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
