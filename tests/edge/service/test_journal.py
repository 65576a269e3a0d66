from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.service.journal import JournalHandler, TerminalFormatter, entry, under_journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "journal"))
        sock.settimeout(10)
        yield sock


def test_a_record_becomes_an_entry_with_its_fields(journal: socket.socket, tmp_path: Path) -> None:
    logger = logging.Logger("edge.test")
    handler = JournalHandler(str(tmp_path / "journal"))
    logger.addHandler(handler)
    logger.warning("part %s", "7", extra={"fields": {"FRAME_ID": "7", "VERDICT": "NotOK"}})
    handler.close()
    assert journal.recv(4096).decode().splitlines() == [
        *("MESSAGE=part 7", "PRIORITY=4", "SYSLOG_IDENTIFIER=edge-inspect", "LOGGER=edge.test"),
        *("FRAME_ID=7", "VERDICT=NotOK"),
    ]


def test_a_value_of_several_lines_cannot_forge_a_field() -> None:
    assert entry({"MESSAGE": "a\nPRIORITY=0"}) == b"MESSAGE\n" + (12).to_bytes(8, "little") + b"a\nPRIORITY=0\n"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert entry({"PART_ID": "\udcff"}) == b"PART_ID=?\n"


def test_a_journal_that_is_away_does_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("edge.test")
    handler = JournalHandler(str(tmp_path / "nobody"))
    logger.addHandler(handler)
    logger.error("still here")
    handler.close()
    assert "still here" in capsys.readouterr().err


def test_a_file_name_cannot_steer_a_terminal_or_forge_a_line() -> None:
    record = logging.LogRecord("edge", logging.INFO, "", 1, "part %s", ("a\033[2J\n2026 ERROR b.png",), None)
    assert TerminalFormatter("%(levelname)s %(message)s").format(record) == "INFO part a?[2J?2026 ERROR b.png"


def test_the_journal_is_used_only_where_stderr_goes_there() -> None:
    status = os.fstat(2)
    assert under_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not under_journal({"JOURNAL_STREAM": "1:2"})
    assert not under_journal({})
