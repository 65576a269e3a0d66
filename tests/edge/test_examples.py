"""The readers of docs/examples, in other languages too, beside a real publisher that loses verdicts."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import zmq

from edge.gate import Gate
from edge.keys import KeyFolder, Role
from edge.verdict import Evaluation, Heartbeat, State, Verdict, encode
from tests.edge.messages import beat, verdict

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
Start = Callable[..., "Reader"]


class Reader:
    """An example as a process, and the lines it prints."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}, bufsize=1
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def lines(self, number: int) -> list[str]:
        """The next lines."""
        return [self._lines.get(timeout=60) for _ in range(number)]

    def end(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        with self._process.stdout as lines:  # type: ignore[union-attr]
            for line in lines:
                self._lines.put(line.rstrip("\n"))


class Station:
    """A publisher, guarded where it is given keys."""

    def __init__(self, endpoint: str, keys: KeyFolder | None = None) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._gate: Gate | None = Gate(self._context, keys) if keys else None
        if self._gate:
            self._gate.guard(self._socket)
        self._socket.bind(endpoint)

    def await_reader(self) -> None:
        for _ in range(1200):
            if self._gate:
                self._gate.attend()
            if self._socket.poll(50):
                self._socket.recv()
                return
        pytest.fail("nobody subscribed")

    def send(self, *messages: Verdict | Heartbeat) -> None:
        for message in messages:
            self._socket.send_multipart([b"a/verdict", encode(message)])

    def __enter__(self) -> Station:
        return self

    def __exit__(self, *_: object) -> None:
        if self._gate:
            self._gate.close()
        self._socket.close()
        self._context.term()


@pytest.fixture
def node(peer: Callable[[str], Path], node_package: Callable[[str], Path]) -> tuple[list[str], dict[str, str]]:
    command = [str(peer("node")), str(EXAMPLES / "read_verdicts.mjs")]
    return command, {"NODE_PATH": str(node_package("zeromq@6.8.0") / "node_modules")}


@pytest.fixture(params=["python", "node"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """`start(address, *options)`: the example of this language."""
    started: list[Reader] = []

    def run(address: str, key: Path | None = None) -> Reader:
        if request.param == "node":
            command, environment = request.getfixturevalue("node")
            options = [str(key)] if key else []
        else:
            command, environment = [sys.executable, str(EXAMPLES / "read_verdicts.py")], {}
            options = ["--key", str(key)] if key else []
        started.append(Reader([*command, address, *options], environment))
        return started[-1]

    yield run
    for reader in started:
        reader.end()


def test_it_reads_verdicts_and_misses_no_gap_no_restart_and_no_silence(start: Start, endpoint: str) -> None:
    bad = msgspec.structs.replace(verdict(2), evaluation=Evaluation.NOT_OK, reason="scratch", part_id="2.png")
    with Station(endpoint) as station:
        reader = start(endpoint)
        station.await_reader()
        station.send(beat(0), verdict(1), bad, bad, verdict(5))
        station.send(beat(5, state=State.DEGRADED), verdict(2, session="s2"))
        station.send(msgspec.structs.replace(beat(2, session="s2"), interval_s=0.1))
        lines = reader.lines(7)
    words = [(line.split(":")[0], line.split()[1]) for line in lines]
    assert words[:2] == [("pass", "1"), ("reject", "2")]
    assert lines[1] == "reject: 2 2.png NotOK scratch"
    assert "3 to 4" in lines[2]
    assert words[3] == ("pass", "5")
    assert "Degraded" in lines[4]
    assert "1 to 1" in lines[5]
    assert words[6] == ("pass", "2")
    (silence,) = reader.lines(1)
    assert silence.startswith("reject: a")


def test_it_reads_from_a_guarded_station_with_its_key(start: Start, endpoint: str, tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    folder.new_client("panel", Role.READ, tmp_path / "panel.key")
    with Station(endpoint, folder) as station:
        reader = start(endpoint, tmp_path / "panel.key")
        station.await_reader()
        station.send(beat(0), verdict(1))
        assert reader.lines(1)[0].startswith("pass: 1 ")
