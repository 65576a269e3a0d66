from __future__ import annotations

import re
from pathlib import Path

from edge.plc.failsafe import Fault
from edge.plc.map import filled, tables
from edge.plc.registers import CommandBit, ResultBit, StatusBit
from edge.plc.tables import ModbusTable

PAGE = Path(__file__).parents[3] / "docs" / "plc-map.md"


def test_the_page_shows_what_the_code_does() -> None:
    page = PAGE.read_text()
    assert filled(page) == page
    assert all(f"<!-- {name} -->\n{table}<!-- end -->" in page for name, table in tables().items())


def test_the_examples_use_the_default_addresses() -> None:
    table = ModbusTable(host="h")
    text = PAGE.read_text().partition("## Structured text")[2]
    assert f"Slot   := {table.results_at} + 3 * (Number MOD {table.slots});" in text
    assert set(map(int, re.findall(r"MB\[(\d+)\]", text))) <= {
        *range(table.outputs_at, table.outputs_at + 6),
        *range(table.inputs_at, table.inputs_at + 9),
    }


def test_every_bit_and_fault_is_on_the_page() -> None:
    shown = tables()
    for name, kind in (("status bits", StatusBit), ("result bits", ResultBit), ("command bits", CommandBit)):
        assert shown[name].count("\n") == 2 + len(kind)
    assert shown["error codes"].count("\n") == 2 + len(Fault)
