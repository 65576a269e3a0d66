"""What a real gateway says of itself while a real PLC comes and goes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
import zmq

from edge.keys import KeyFolder, Role, use_key
from edge.plc.heartbeat import GatewayHeartbeat, GatewayState, PlcLink, Sorted, decode
from edge.schema import schemas
from edge.verdict import Evaluation
from tests.edge.plc.conftest import PATIENCE_S, Start
from tests.edge.plc.vision import STATION, Vision

SCHEMA = jsonschema.Draft202012Validator(json.loads(schemas()["gateway.schema.json"]))


class Ear:
    """A subscriber to a gateway. Every heartbeat has to be as the schema says."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket

    def next(self) -> GatewayHeartbeat:
        assert self._socket.poll(1000 * PATIENCE_S), "the gateway is silent"
        topic, data = self._socket.recv_multipart()
        assert topic == f"{STATION}/gateway".encode()
        assert [error.message for error in SCHEMA.iter_errors(json.loads(data))] == []
        return decode(data)

    def until(self, enough: Callable[[GatewayHeartbeat], object]) -> GatewayHeartbeat:
        deadline = time.monotonic() + PATIENCE_S
        while not enough(beat := self.next()):
            assert time.monotonic() < deadline, beat
        return beat


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/gateway"


@pytest.fixture
def ear(address: str) -> Iterator[Ear]:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt_string(zmq.SUBSCRIBE, STATION)
        socket.connect(address)
        yield Ear(socket)


def test_it_tells_of_vision_parts_a_lockout_and_a_lost_plc(
    start: Start, vision: Vision, ear: Ear, address: str
) -> None:
    line = start(f'lockout_after = 1\n[plc.publish]\nbind = "{address}"\nheartbeat_s = 60')
    assert ear.next().condition.state is GatewayState.NOT_READY
    vision.wait_for_subscriber()
    vision.beat()
    ready = ear.until(lambda beat: beat.condition.state is GatewayState.READY)
    assert (ready.condition.plc, ready.condition.reason, ready.parts) == (PlcLink.UP, "", Sorted())
    for number, evaluation in ((1, Evaluation.OK), (2, Evaluation.NOT_OK)):
        line.enter(number)
        vision.judge(number, evaluation)
        line.until_ruled(number)
    # A heartbeat is due in a minute only: what follows are changes.
    locked = ear.until(lambda beat: beat.condition.lockout)
    assert (locked.condition.fault, locked.condition.reason) == ("lockout", "1 defective parts in a row")
    assert (locked.parts, locked.faults["lockout"]) == (Sorted(released=1, rejected=1), 1)
    line.plc.kill()
    lost = ear.until(lambda beat: beat.condition.plc is PlcLink.LOST)
    assert lost.condition.lockout
    line.process.send_signal(signal.SIGTERM)
    assert ear.until(lambda beat: beat.condition.state is GatewayState.STOPPED).session_id == ready.session_id


def test_with_keys_it_speaks_to_who_holds_one_alone(tmp_path: Path, cli: tuple[str, ...], endpoint: str) -> None:
    keys = KeyFolder(tmp_path / "keys")
    keys.new_client("page", Role.READ, tmp_path / "page.key")
    station = tmp_path / "station.toml"
    station.write_text(
        f'station = "{STATION}"\n[recipes.flange]\nbundle = "b"\n[cameras.top]\nkind = "folder"\npath = "in"\n'
        f'[publish]\nbind = "ipc://{tmp_path}/verdicts"\n[security]\nkeys = "{keys.path}"\n'
        f'[plc]\ntravel = 1.0\nmargin = 0.1\nparts = "verdict"\nfire = "release"\n'
        f'[plc.publish]\nbind = "{endpoint}"\nheartbeat_s = 0.1\n'
    )
    with subprocess.Popen([*cli, "plc", "--config", str(station)]) as process, zmq.Context() as context:
        try:
            sockets = [context.socket(zmq.SUB) for _ in range(2)]
            use_key(sockets[0], tmp_path / "page.key")
            for socket in sockets:
                socket.setsockopt(zmq.LINGER, 0)
                socket.setsockopt_string(zmq.SUBSCRIBE, STATION)
                socket.connect(endpoint)
            # Nothing changes meanwhile: they come because they are due.
            beats = [Ear(sockets[0]).next() for _ in range(3)]
            assert {beat.interval_s for beat in beats} == {0.1}
            assert beats[-1].condition.plc is PlcLink.NONE
            assert not sockets[1].poll(0), "a client without a key hears it"
        finally:
            process.kill()
            context.destroy(linger=0)


def test_an_address_that_is_taken_is_said_at_the_start(tmp_path: Path, cli: tuple[str, ...], endpoint: str) -> None:
    station = tmp_path / "station.toml"
    station.write_text(
        'station = "s"\n[recipes.r]\nbundle = "b"\n[cameras.top]\nkind = "folder"\npath = "in"\n'
        '[plc]\ntravel = 1.0\nmargin = 0.1\nparts = "verdict"\nfire = "release"\n'
        f'[plc.publish]\nbind = "{endpoint}"\n'
    )
    with Vision(endpoint):
        command = [*cli, "plc", "--config", str(station)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert result.returncode == 2
    assert f"plc.publish.bind: {endpoint} is in use" in result.stderr.splitlines()[-1]
