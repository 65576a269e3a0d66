from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.plc_program import free_port
from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Fault
from edge.plc.opcua import NAMESPACE, OpcUa, state_of
from edge.plc.output import OutputError
from edge.plc.signals import Left, Status
from edge.plc.tables import OpcUaTable
from edge.verdict import Evaluation

CLIENT = Path(__file__).with_name("opcua_client.cjs")


@pytest.fixture
def table() -> OpcUaTable:
    return OpcUaTable(endpoint=f"opc.tcp://127.0.0.1:{free_port()}")


@pytest.fixture
def server(table: OpcUaTable) -> Iterator[OpcUa]:
    with OpcUa(table, "cell-7") as output:
        assert isinstance(output, OpcUa)
        yield output


def speak(server: OpcUa) -> None:
    ruling = Ruling(42, Evaluation.NOT_OK, "score 2.25 is above the threshold")
    for action in (Status(ready=True, busy=True, job=3, trigger=42), ruling, Left(ruling)):
        server.carry_out(action)


EXPECTED = {
    "CurrentState": "Operational",
    "Ready": True,
    "Busy": True,
    "ErrorCode": 0,
    "JobActive": 3,
    "TriggerAck": 42,
    "ResultId": "cell-7-1",
    "PartId": 42,
    "ResultState": 1,
    "ResultEvaluation": 2,
    "Reason": "score 2.25 is above the threshold",
    "Released": 0,
    "Rejected": 1,
}


def test_a_client_in_another_language_reads_state_and_result_and_can_write_nothing(
    server: OpcUa, table: OpcUaTable, peer: Callable[[str], Path], node_package: Callable[[str], Path]
) -> None:
    node, folder = peer("node"), node_package("node-opcua-client@2.182.2")
    speak(server)
    command = [str(node), str(CLIENT), table.endpoint, "cell-7", *EXPECTED]
    environment = {**os.environ, "NODE_PATH": str(folder / "node_modules"), "HOME": str(folder)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    # Its library writes warnings of its own there.
    values = json.loads(next(line for line in result.stdout.splitlines() if line.startswith("{")))
    assert values.pop("written") in ("BadUserAccessDenied", "BadNotWritable")
    assert values == EXPECTED


def test_the_library_own_client_finds_the_same_by_browsing(server: OpcUa, table: OpcUaTable) -> None:
    from asyncua.sync import Client

    speak(server)
    with Client(table.endpoint) as client:
        index = client.get_namespace_index(NAMESPACE)
        vision = client.nodes.objects.get_child(f"{index}:VisionSystem")
        found = {
            variable.read_browse_name().Name: variable.read_value()
            for folder in vision.get_children()
            for variable in folder.get_children()
        }
    assert {name: found[name] for name in EXPECTED} == EXPECTED


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status(error=Fault.STARTING), "Preoperational"),
        (Status(error=Fault.SILENCE), "Error"),
        (Status(error=Fault.LOCKOUT, lockout=True), "Halted"),
        (Status(ready=True), "Operational"),
    ],
)
def test_the_state_has_the_words_of_the_standard(status: Status, state: str) -> None:
    assert state_of(status) == state


def test_an_address_in_use_is_named(server: OpcUa, table: OpcUaTable) -> None:
    with pytest.raises(OutputError, match=r"plc\.opcua\.endpoint: cannot listen on opc\.tcp"), OpcUa(table, "other"):
        pass
