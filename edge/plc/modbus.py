"""Modbus TCP: the gateway is the client, the PLC (or a coupler) the server.

A PLC that is frozen may carry out a write long after it timed out here. So a result is one write of the part's number
with the word, into a slot that is the number's own: executed late, it speaks of a part that has gone. And the coil only
ever rejects.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import Any

from edge.plc.conveyor import Ruling
from edge.plc.output import Output, OutputError
from edge.plc.registers import INPUT_BLOCK, RESULT_SLOT, decode_inputs, encode_result, encode_status
from edge.plc.signals import Action, Inputs, Status, Switch
from edge.plc.tables import ModbusTable
from engines.extras import import_extra

_log = logging.getLogger(__name__)


class Modbus(Output):
    """A connection that comes back by itself; while there is none, actions raise OutputError and change nothing.

    Every result and every switch of the coil is read back.
    """

    def __init__(self, table: ModbusTable) -> None:
        self._table = table
        self._client: Any = None
        self._library: Any = None
        self._connected = False
        self._retry_at = -math.inf
        self._beats = 0
        self._beat_at = -math.inf
        self._status = Status()
        self._latest: Ruling | None = None

    def open(self) -> None:
        """Nothing is connected yet: a PLC may be switched on later. Raises UsageError where pymodbus is missing."""
        self._library = import_extra("pymodbus", "plc")
        # It logs each failed call as an error; the gateway tells of a lost PLC once.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        table = self._table
        client = import_extra("pymodbus.client", "plc").ModbusTcpClient
        self._client = client(table.host, port=table.port, timeout=table.timeout_s, retries=0)

    def exchange(self, now: float) -> Inputs | None:
        """Ask the PLC, and give a sign of life where one is due. None while no new try to connect is due.

        Raises OutputError, once for each try, where the PLC does not answer.
        """
        if not self._connected and not self._connect(now):
            return None
        table = self._table
        words = self._call(self._client.read_holding_registers, table.inputs_at, count=len(INPUT_BLOCK)).registers
        inputs = decode_inputs(words)
        if self._latest is not None and inputs.ack == self._latest.number:
            self._latest = None
            self._write_status()
        elif now >= self._beat_at:
            self._write_status()
        return inputs

    def carry_out(self, action: Action) -> None:
        """Write a ruling, a status or the coil. Raises OutputError where the connection breaks over it.

        Without a connection nothing is written: the PLC rejects what it is not told of, and hears the status at once
        when it is back.
        """
        if isinstance(action, Status):
            self._status = action
        elif isinstance(action, Ruling):
            self._latest = action
        if not self._connected:
            return
        if isinstance(action, Switch):
            self._switch(action.on)
        elif isinstance(action, Ruling):
            self._write_checked(self._slot(action), encode_result(action))
            self._write_status()
        elif isinstance(action, Status):
            self._write_status()

    def close(self) -> None:
        """Clear Ready and the coil, if the PLC can still be told, and disconnect."""
        if self._client is None:
            return
        try:
            self.carry_out(Switch(False))
            self.carry_out(Status(error=self._status.error))
        except OutputError as error:
            _log.warning("%s", error)
        self._drop()
        self._client = None

    def _connect(self, now: float) -> bool:
        if now < self._retry_at:
            return False
        self._retry_at = now + self._table.retry_s
        if not self._client.connect():
            raise OutputError(f"no Modbus server answers at {self._place}; is the PLC on and its port open?")
        self._connected = True
        # A pulse that was under way when the connection broke may have been left on.
        self._switch(False)
        self._write_status()
        return True

    def _slot(self, ruling: Ruling) -> int:
        return self._table.results_at + len(RESULT_SLOT) * (ruling.number % self._table.slots)

    def _write_status(self) -> None:
        self._beats += 1
        self._beat_at = time.monotonic() + self._table.heartbeat_s
        words = encode_status(self._beats, self._status, self._latest)
        self._call(self._client.write_registers, self._table.outputs_at, words)

    def _write_checked(self, address: int, words: list[int]) -> None:
        self._call(self._client.write_registers, address, words)
        found = self._call(self._client.read_holding_registers, address, count=len(words)).registers
        if found != words:
            self._drop()
            raise OutputError(f"{self._place}: register {address} was written {words} and reads back {found}")

    def _switch(self, on: bool) -> None:
        coil = self._table.ejector_coil
        self._call(self._client.write_coil, coil, on)
        if self._call(self._client.read_coils, coil, count=1).bits[0] != on:
            self._drop()
            raise OutputError(f"{self._place}: coil {coil} was set to {int(on)} and reads back otherwise")

    def _call(self, request: Callable[..., Any], *values: Any, **options: Any) -> Any:
        try:
            answer = request(*values, device_id=self._table.unit, **options)
        except (self._library.ModbusException, OSError) as error:
            self._drop()
            raise OutputError(f"{self._place} does not answer: {error}") from None
        if answer.isError():
            self._drop()
            raise OutputError(f"{self._place} refuses {request.__name__} at {values[0]}: {answer}; see the PLC map")
        return answer

    def _drop(self) -> None:
        # Whatever comes in late on the old connection must not be taken for the answer to a new question.
        self._connected = False
        self._client.close()

    @property
    def _place(self) -> str:
        return f"{self._table.host}:{self._table.port}"
