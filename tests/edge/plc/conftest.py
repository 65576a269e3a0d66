"""A PLC that was not written with the gateway's library, for every test of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.plc_program import PlcError, PlcProgram, build
from edge.plc.tables import ModbusTable
from tests.conftest import missing


@pytest.fixture(scope="session")
def plc_binary(tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], Path]) -> Path:
    """The compiled PLC program."""
    peer("gcc")
    try:
        return build(tmp_path_factory.mktemp("plc"))
    except PlcError as error:
        missing(str(error))


@pytest.fixture
def plc(plc_binary: Path, tmp_path: Path) -> Iterator[PlcProgram]:
    """A PLC that runs."""
    with PlcProgram(plc_binary, tmp_path) as program:
        yield program


@pytest.fixture
def modbus_table(plc: PlcProgram) -> ModbusTable:
    """The way to it, with short times."""
    return ModbusTable(host="127.0.0.1", port=plc.port, timeout_s=1.0, retry_s=0.05, heartbeat_s=0.05)
