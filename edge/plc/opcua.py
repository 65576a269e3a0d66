"""OPC UA: a server whose nodes have the names and values of OPC 40100-1 (state, result) and OPC 40001-101 (evaluation).

It is not that specification's address space in full: no node set of it is loaded, and nothing can be written or called.
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any

from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Fault
from edge.plc.output import Output, OutputError
from edge.plc.signals import Action, Left, Status
from edge.plc.tables import OpcUaTable
from edge.verdict import Evaluation
from engines.extras import import_extra

NAMESPACE = "urn:edge-inspect:vision"
# ResultEvaluationEnum of OPC 40001-101, ResultStateDataType and the states of OPC 40100-1.
EVALUATIONS = {Evaluation.OK: 1, Evaluation.NOT_OK: 2, Evaluation.NOT_DECIDABLE: 3}
COMPLETED, FAILED = 1, 4
PREOPERATIONAL, HALTED, ERROR, OPERATIONAL = "Preoperational", "Halted", "Error", "Operational"

# Folder, name, type and first value of each variable.
_VARIABLES: tuple[tuple[str, str, str, Any], ...] = (
    ("VisionStateMachine", "CurrentState", "String", PREOPERATIONAL),
    ("Handshake", "Ready", "Boolean", False),
    ("Handshake", "Busy", "Boolean", False),
    ("Handshake", "Stop", "Boolean", False),
    ("Handshake", "Lockout", "Boolean", False),
    ("Handshake", "RateAlarm", "Boolean", False),
    ("Handshake", "ErrorCode", "UInt16", 0),
    ("Handshake", "JobActive", "UInt16", 0),
    ("Handshake", "TriggerAck", "UInt16", 0),
    ("ResultManagement", "ResultId", "String", ""),
    ("ResultManagement", "PartId", "UInt16", 0),
    ("ResultManagement", "ResultState", "Int32", 0),
    ("ResultManagement", "ResultEvaluation", "Int32", 0),
    ("ResultManagement", "Reason", "String", ""),
    ("ResultManagement", "CreationTime", "DateTime", datetime.fromtimestamp(0, timezone.utc)),
    ("Counters", "Released", "UInt32", 0),
    ("Counters", "Rejected", "UInt32", 0),
)


class OpcUa(Output):
    """Serves the latest result and the handshake; a client subscribes to the variables."""

    def __init__(self, table: OpcUaTable, station: str) -> None:
        self._table = table
        self._station = station
        self._server: Any = None
        self._types: Any = None
        self._nodes: dict[str, Any] = {}
        self._results = 0
        self._sorted = {"Released": 0, "Rejected": 0}

    def open(self) -> None:
        """Begin to serve. Raises UsageError without asyncua, OutputError where the address cannot be listened on."""
        library = import_extra("asyncua.sync", "plc")
        self._types = import_extra("asyncua.ua", "plc")
        # It tells of every client and of having no certificate; who wants that raises the level again.
        logging.getLogger("asyncua").setLevel(logging.ERROR)
        self._server = library.Server()
        self._server.set_endpoint(self._table.endpoint)
        self._server.set_server_name("Edge Inspect")
        self._server.set_security_policy([self._types.SecurityPolicyType.NoSecurity])
        self._build(self._server.register_namespace(NAMESPACE))
        try:
            self._server.start()
        except OSError as error:
            self.close()
            raise OutputError(
                f"plc.opcua.endpoint: cannot listen on {self._table.endpoint}: {error}; choose another port"
            ) from None

    def carry_out(self, action: Action) -> None:
        """Bring the variables up to date."""
        if isinstance(action, Ruling):
            self._show_result(action)
        elif isinstance(action, Status):
            self._show_status(action)
        elif isinstance(action, Left):
            name = "Released" if action.ruling.released else "Rejected"
            self._sorted[name] += 1
            self._write(name, self._sorted[name])

    def close(self) -> None:
        """End the server."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _build(self, namespace: int) -> None:
        vision = self._server.nodes.objects.add_object(*self._names(namespace, "VisionSystem"))
        folders: dict[str, Any] = {}
        for folder, name, kind, value in _VARIABLES:
            if folder not in folders:
                folders[folder] = vision.add_object(*self._names(namespace, folder))
            variant = self._types.Variant(value, self._types.VariantType[kind])
            self._nodes[name] = folders[folder].add_variable(*self._names(namespace, name), variant)

    def _names(self, namespace: int, name: str) -> tuple[Any, Any]:
        node_id = self._types.NodeId(f"{self._station}.{name}", namespace)
        return node_id, self._types.QualifiedName(name, namespace)

    def _show_result(self, ruling: Ruling) -> None:
        self._results += 1
        self._write("PartId", ruling.number)
        self._write("ResultEvaluation", EVALUATIONS[ruling.evaluation])
        self._write("ResultState", FAILED if ruling.evaluation is Evaluation.NOT_DECIDABLE else COMPLETED)
        self._write("Reason", ruling.reason)
        self._write("CreationTime", datetime.now(timezone.utc))
        # Last: who subscribes to it reads the others as they belong to it.
        self._write("ResultId", f"{self._station}-{self._results}")

    def _show_status(self, status: Status) -> None:
        values = {
            "CurrentState": state_of(status),
            "Ready": status.ready,
            "Busy": status.busy,
            "Stop": status.stop,
            "Lockout": status.lockout,
            "RateAlarm": status.rate_alarm,
            "ErrorCode": int(status.error),
            "JobActive": status.job,
            "TriggerAck": status.trigger,
        }
        for name, value in values.items():
            self._write(name, value)

    def _write(self, name: str, value: Any) -> None:
        kind = next(kind for _, known, kind, _ in _VARIABLES if known == name)
        self._nodes[name].write_value(self._types.Variant(value, self._types.VariantType[kind]))


def state_of(status: Status) -> str:
    """The state of the vision system in the words of OPC 40100-1."""
    if status.lockout:
        return HALTED
    if status.error == Fault.STARTING:
        return PREOPERATIONAL
    return OPERATIONAL if status.error == 0 else ERROR
