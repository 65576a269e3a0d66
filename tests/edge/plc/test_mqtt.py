from __future__ import annotations

import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.plc_program import free_port
from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Change, Fault
from edge.plc.mqtt import Mqtt
from edge.plc.output import OutputError
from edge.plc.signals import Status, Switch
from edge.plc.tables import MqttTable
from edge.verdict import Evaluation
from engines.errors import ConfigError

PATIENCE_S = 30.0


class Broker:
    """A mosquitto that can be ended and started again."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.table = MqttTable(host="127.0.0.1", port=free_port())
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text(f"listener {self.table.port} 127.0.0.1\nallow_anonymous true\n")
        self._program = program
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([str(self._program), "-c", str(self._settings)], stderr=subprocess.DEVNULL)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Listener:
    """Somebody else who reads a topic."""

    def __init__(self, table: MqttTable) -> None:
        self.messages: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("plant/#", 1)
        self.client.on_message = lambda _, __, message: self.messages.put((message.topic, message.payload))
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.client.connect(table.host, table.port)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self.client.loop_start()

    def until(self, topic: str, payload: bytes | None = None) -> bytes:
        while True:
            name, found = self.messages.get(timeout=PATIENCE_S)
            if name == f"plant/cell-7/{topic}" and payload in (None, found):
                return found


@pytest.fixture
def broker(peer: Callable[[str], Path], tmp_path: Path) -> Iterator[Broker]:
    running = Broker(peer("mosquitto"), tmp_path)
    running.start()
    yield running
    running.end()


@pytest.fixture
def listener(broker: Broker) -> Iterator[Listener]:
    heard = Listener(broker.table)
    yield heard
    heard.client.disconnect()
    heard.client.loop_stop()


def settings(broker: Broker, **changes: Any) -> MqttTable:
    return MqttTable(host="127.0.0.1", port=broker.table.port, prefix="plant", **changes)


def test_results_faults_and_status_arrive_and_a_good_bye_is_said(broker: Broker, listener: Listener) -> None:
    with Mqtt(settings(broker), "cell-7") as mqtt:
        listener.until("online", b"1")
        for action in (
            Ruling(7, Evaluation.NOT_OK, "scratch"),
            Switch(True, 7, 1.0),
            Change(Fault.GAP, True, "2 to 3"),
            Status(ready=True),
        ):
            mqtt.carry_out(action)
        result = json.loads(listener.until("result"))
        assert (result["number"], result["evaluation"], result["reason"]) == (7, "NotOK", "scratch")
        assert json.loads(listener.until("fault"))["fault"] == "gap"
        assert json.loads(listener.until("status"))["ready"] is True
    listener.until("online", b"0")


def test_the_broker_tells_that_a_killed_gateway_has_gone(broker: Broker, listener: Listener) -> None:
    code = (
        "import time; from edge.plc.mqtt import Mqtt; from edge.plc.tables import MqttTable\n"
        f"with Mqtt(MqttTable(host='127.0.0.1', port={broker.table.port}, prefix='plant'), 'cell-7'): time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        listener.until("online", b"1")
    finally:
        process.kill()
        process.wait()
    listener.until("online", b"0")


def test_what_is_published_while_the_broker_is_away_comes_afterwards(
    peer: Callable[[str], Path], tmp_path: Path
) -> None:
    broker = Broker(peer("mosquitto"), tmp_path)
    with Mqtt(settings(broker, waiting=2), "cell-7") as mqtt:
        for error in (4, 0):
            mqtt.carry_out(Status(error=error))
        with pytest.raises(OutputError, match="2 messages wait for the broker"):
            mqtt.carry_out(Ruling(3, Evaluation.OK))
        broker.start()
        listener = Listener(broker.table)
        while json.loads(listener.until("status"))["error"] != 0:
            pass
        listener.client.disconnect()
        listener.client.loop_stop()
    broker.end()


def test_a_password_file_that_is_not_there_is_named(broker: Broker, tmp_path: Path) -> None:
    table = settings(broker, user="line", password=tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"plc\.mqtt\.password: expected a file .*secret"), Mqtt(table, "cell-7"):
        pass
