from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.plc.conveyor import Ruling
from edge.plc.failsafe import Change, Fault
from edge.plc.log import Log
from edge.plc.output import OutputError
from edge.plc.signals import Left, Status, Switch
from edge.plc.tables import LogTable
from edge.verdict import Evaluation


def test_everything_is_one_whole_line_at_once(tmp_path: Path) -> None:
    path = tmp_path / "line.jsonl"
    ruling = Ruling(7, Evaluation.NOT_OK, "scratch")
    actions = [ruling, Left(ruling), Switch(True, 7, 12.5), Change(Fault.GAP, True, "2 to 3"), Status(ready=True)]
    with Log(LogTable(path=path)) as log:
        for action in actions:
            log.carry_out(action)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["ruling", "left", "switch", "fault", "status"]
    assert (lines[0]["number"], lines[0]["evaluation"], lines[0]["reason"]) == (7, "NotOK", "scratch")
    assert (lines[2]["on"], lines[2]["number"], lines[2]["planned"]) == (True, 7, 12.5)
    assert (lines[3]["fault"], lines[3]["began"]) == ("gap", True)
    assert (lines[4]["ready"], lines[4]["error"]) == (True, 0)
    assert [line["monotonic"] for line in lines] == sorted(line["monotonic"] for line in lines)


def test_a_log_goes_on_after_the_lines_of_the_gateway_before_it(tmp_path: Path) -> None:
    for _ in range(2):
        with Log(LogTable(path=tmp_path / "line.jsonl")) as log:
            log.carry_out(Status())
    assert len((tmp_path / "line.jsonl").read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"plc\.log\.path: cannot write .*no-folder"),
        Log(LogTable(path=tmp_path / "no-folder" / "line.jsonl")),
    ):
        pass


def test_lines_go_to_stdout_where_no_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with Log(LogTable()) as log:
        log.carry_out(Status())
    assert json.loads(capsys.readouterr().out)["event"] == "status"
