from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.plc_program import EJECTED, PASSES, PlcProgram
from edge.plc.conveyor import Ruling
from edge.plc.modbus import Modbus
from edge.plc.output import OutputError
from edge.plc.registers import StatusBit
from edge.plc.signals import Inputs, Status, Switch
from edge.plc.tables import ModbusTable
from edge.verdict import Evaluation

OK, NOT_OK, NOT_DECIDABLE = Evaluation
PATIENCE_S = 20.0


def connected(modbus: Modbus) -> Inputs:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            inputs = modbus.exchange(time.monotonic())
        except OutputError:
            inputs = None
        if inputs is not None:
            return inputs
        time.sleep(0.01)
    pytest.fail("the PLC does not answer")


def sorted_as(plc: PlcProgram, number: int) -> int:
    plc.scan_once()
    plc.image.ejector = number
    plc.scan_once()
    return int(plc.image.decision[number])


def registers(mbpoll: Path, port: int, address: int, count: int) -> list[int]:
    command = [str(mbpoll), "-m", "tcp", "-p", str(port), "-0", "-1", "-t", "4", "-r", str(address), "-c", str(count)]
    text = subprocess.run([*command, "127.0.0.1"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith("[")]


def test_what_the_plc_says_is_read_in_one_piece(plc: PlcProgram, modbus_table: ModbusTable) -> None:
    image = plc.image
    image.sensor, image.encoder, image.encoder_at_sensor, image.job, image.reset = 70_001, 2**31 + 5, 2**31, 3, 1
    with Modbus(modbus_table) as modbus:
        connected(modbus)
        plc.scan_once()
        inputs = connected(modbus)
    assert inputs.heartbeat > 0
    told = (inputs.trigger, inputs.encoder, inputs.trigger_encoder, inputs.job, inputs.reset)
    assert told == (70_001 % 65_536, 2**31 + 5, 2**31, 3, True)


@pytest.mark.parametrize(
    ("evaluation", "decision"), [(OK, PASSES), (NOT_OK, EJECTED), (NOT_DECIDABLE, EJECTED), (None, EJECTED)]
)
def test_the_plc_sorts_by_the_word_on_the_number(
    plc: PlcProgram, modbus_table: ModbusTable, evaluation: Evaluation | None, decision: int
) -> None:
    with Modbus(modbus_table) as modbus:
        connected(modbus)
        if evaluation is not None:
            modbus.carry_out(Ruling(1, evaluation))
        assert sorted_as(plc, 1) == decision


def test_another_program_reads_what_the_map_says(
    plc: PlcProgram, modbus_table: ModbusTable, peer: Callable[[str], Path]
) -> None:
    mbpoll = peer("mbpoll")
    with Modbus(modbus_table) as modbus:
        connected(modbus)
        modbus.carry_out(Status(ready=True, busy=True, error=0, job=4, trigger=9))
        assert registers(mbpoll, plc.port, 1, 4) == [int(StatusBit.READY | StatusBit.BUSY), 0, 4, 9]
        modbus.carry_out(Ruling(7, NOT_OK))
        assert registers(mbpoll, plc.port, 16 + 3 * 7, 3) == [7, 0b0101, 7]


def test_a_result_is_valid_until_the_plc_acknowledges_it(
    plc: PlcProgram, modbus_table: ModbusTable, peer: Callable[[str], Path]
) -> None:
    mbpoll = peer("mbpoll")
    plc.freeze()
    plc.thaw()
    with Modbus(modbus_table) as modbus:
        connected(modbus)
        modbus.carry_out(Ruling(7, OK))
        assert registers(mbpoll, plc.port, 5, 1) == [7]
        plc.scan_once()
        connected(modbus)
        assert registers(mbpoll, plc.port, 1, 1) == [0]


def test_the_coil_goes_on_and_off_and_ends_off(plc: PlcProgram, modbus_table: ModbusTable) -> None:
    with Modbus(modbus_table) as modbus:
        connected(modbus)
        modbus.carry_out(Switch(True, 1, 0.0))
        plc.scan_once()
        assert plc.image.coil == 1
    plc.scan_once()
    assert plc.image.coil == 0


def test_a_plc_that_is_not_there_is_told_and_found_when_it_comes(plc: PlcProgram, modbus_table: ModbusTable) -> None:
    plc.kill()
    with Modbus(modbus_table) as modbus:
        with pytest.raises(OutputError, match="no Modbus server answers at 127"):
            modbus.exchange(time.monotonic())
        modbus.carry_out(Ruling(1, OK))
        plc.start()
        connected(modbus)
        assert sorted_as(plc, 1) == EJECTED


def test_what_a_frozen_plc_carries_out_later_releases_no_other_part(plc: PlcProgram, modbus_table: ModbusTable) -> None:
    with Modbus(modbus_table) as modbus:
        connected(modbus)
        plc.freeze()
        with pytest.raises(OutputError, match="does not answer"):
            modbus.carry_out(Ruling(1, OK))
        with pytest.raises(OutputError):
            connected_once(modbus)
        plc.image.ejector = 1 + 32 * 3
        plc.thaw()
        plc.scan_once()
        decisions = {number: plc.image.decision[number] for number in range(1, 98)}
        assert [number for number, decision in decisions.items() if decision == PASSES] in ([], [1])
        connected(modbus)
        modbus.carry_out(Ruling(98, NOT_OK))
        assert sorted_as(plc, 98) == EJECTED


def connected_once(modbus: Modbus) -> None:
    time.sleep(0.06)
    modbus.exchange(time.monotonic())


def test_a_coil_that_a_frozen_plc_left_on_goes_off_when_it_is_back(plc: PlcProgram, modbus_table: ModbusTable) -> None:
    with Modbus(modbus_table) as modbus:
        connected(modbus)
        plc.freeze()
        with pytest.raises(OutputError, match="does not answer"):
            modbus.carry_out(Switch(True, 1, 0.0))
        plc.thaw()
        plc.scan_once()
        assert plc.image.coil == 1
        connected(modbus)
        plc.scan_once()
        assert plc.image.coil == 0


def test_a_register_that_the_plc_does_not_have_is_named(plc: PlcProgram, modbus_table: ModbusTable) -> None:
    import msgspec

    with (
        Modbus(msgspec.structs.replace(modbus_table, inputs_at=600)) as modbus,
        pytest.raises(OutputError, match=r"refuses read_holding_registers at 600.*PLC map"),
    ):
        modbus.exchange(time.monotonic())
