"""What was said stays said: after a kill, among several writers, and when the archive has removed its part."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edge.archive.part import ArchivedPart, Kept
from edge.archive.store import ArchiveStore
from edge.audit.trail import AuditError, AuditTrail, read_trail
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import FeedbackError, Says, Statement
from tests.edge.archive.parts import bare, entry

GOOD = Statement(Says.GOOD, "a reflection", "Ada")
WRITER = """
import sys
from pathlib import Path
from edge.archive.index import ArchiveIndex
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import Says, Statement
folder, name = Path(sys.argv[1]), sys.argv[2]
with ArchiveIndex.open(folder) as index:
    part = index.part(int(sys.argv[3]))
with FeedbackBook.open(folder) as book:
    for number in range(int(sys.argv[4])):
        book.add(part, Statement(Says.GOOD, f"{name} {number}", name))
        print(number, flush=True)
"""


def archived(folder: Path, number: int = 1) -> list[ArchivedPart]:
    with ArchiveStore(folder) as store:
        keys = store.add([entry(second, seed=second) for second in range(number)])
        parts = [store.index.part(key) for key in keys]
    return [part for part in parts if part is not None]


def writer(folder: Path, name: str, key: int, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), name, str(key), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_last_word_counts_and_the_others_are_kept(tmp_path: Path) -> None:
    (part,) = archived(tmp_path)
    with FeedbackBook.open(tmp_path) as book:
        book.add(part, GOOD)
        book.add(part, Statement(Says.DEFECT, "looked again", "Bob", "minor"))
        (last,) = book.last_words()
        assert (last.says, last.statement.by, last.statement.grade, last.disputes) == (
            Says.DEFECT,
            "Bob",
            "minor",
            False,
        )
        assert (last.verdict, last.product, last.kept) == (part.verdict, "Flange", Kept.REJECT)
        book.add(part, Statement(Says.WITHDRAWN, "wrong part", "Bob"))
        assert book.last_words() == []
        assert [each.says for each in book.of(part.key)] == [Says.GOOD, Says.DEFECT, Says.WITHDRAWN]


def test_the_picture_outlives_its_part_in_the_archive(tmp_path: Path) -> None:
    (part,) = archived(tmp_path)
    assert part.picture is not None
    original = part.picture.read_bytes()
    with FeedbackBook.open(tmp_path) as book:
        opinion = book.add(part, GOOD)
        kept = book.picture(opinion)
        assert kept is not None
        assert kept.stat().st_ino == part.picture.stat().st_ino, "as long as the archive has it, it takes no room"
        with ArchiveStore(tmp_path) as store:
            store.remove([part.key])
        assert not part.picture.exists()
        assert kept.read_bytes() == original
        assert book.add(part, GOOD).has_picture, "what is there already is not looked for again"


def test_a_part_without_a_picture_has_an_opinion_all_the_same(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        (key,) = store.add([bare()])
        part = store.index.part(key)
    assert part is not None
    with FeedbackBook.open(tmp_path) as book:
        opinion = book.add(part, Statement(Says.DEFECT, "came back from the customer", "Ada"))
        assert opinion.disputes
        assert book.picture(opinion) is None


def test_a_picture_that_is_removed_meanwhile_is_not_claimed(tmp_path: Path) -> None:
    (part,) = archived(tmp_path)
    with ArchiveStore(tmp_path) as store:
        store.remove([part.key])
    with FeedbackBook.open(tmp_path) as book:
        assert not book.add(part, GOOD).has_picture


def test_nothing_in_it_can_be_changed(tmp_path: Path) -> None:
    (part,) = archived(tmp_path)
    with FeedbackBook.open(tmp_path) as book:
        book.add(part, GOOD)
        database = sqlite3.connect(book.folder / "feedback.sqlite")
        for statement in ("UPDATE opinions SET says = 'defect'", "DELETE FROM opinions"):
            with pytest.raises(sqlite3.IntegrityError, match="opinions are only added"):
                database.execute(statement)
        database.close()


def test_every_opinion_is_audited_or_not_written(tmp_path: Path) -> None:
    (part,) = archived(tmp_path)
    with FeedbackBook.open(tmp_path, AuditTrail(tmp_path / "audit.jsonl", "cell-7")) as book:
        book.add(part, GOOD)
    (written,) = read_trail(tmp_path / "audit.jsonl").entries
    assert (written.what, written.who, written.station) == ("feedback", "Ada", "cell-7")
    assert written.details["part"] == part.key
    assert (written.details["says"], written.details["reason"]) == ("good", "a reflection")
    (tmp_path / "folder").mkdir()
    with FeedbackBook.open(tmp_path, AuditTrail(tmp_path / "folder", "cell-7")) as book:
        with pytest.raises(AuditError, match="cannot be written"):
            book.add(part, Statement(Says.DEFECT, "looked again", "Bob"))
        assert [each.says for each in book.of(part.key)] == [Says.GOOD]


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    (part,) = archived(tmp_path)
    writers = [writer(tmp_path, name, part.key, 15) for name in ("Ada", "Bob", "Eve")]
    assert [each.wait(120) for each in writers] == [0, 0, 0]
    for each in writers:
        assert each.stdout is not None
        each.stdout.close()
    with FeedbackBook.open(tmp_path) as book:
        said = [each.statement.reason for each in book.of(part.key)]
    for name in ("Ada", "Bob", "Eve"):
        assert [reason for reason in said if reason.startswith(name)] == [f"{name} {number}" for number in range(15)]


def test_what_was_confirmed_survives_a_kill(tmp_path: Path) -> None:
    (part,) = archived(tmp_path)
    for _ in range(3):
        child = writer(tmp_path, "Ada", part.key, 100_000)
        assert child.stdout is not None
        with child.stdout:
            before = len(_said(tmp_path, part.key))
            for _ in range(10):
                confirmed = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            child.wait(60)
        assert len(_said(tmp_path, part.key)) - before >= confirmed + 1


def _said(folder: Path, key: int) -> list[str]:
    with FeedbackBook.open(folder) as book:
        return [each.statement.reason for each in book.of(key)]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reason": "  "}, "expected a reason of 1 to 500 characters"),
        ({"reason": "x" * 501}, "expected a reason"),
        ({"reason": "two\nlines"}, "in one line"),
        ({"by": ""}, "expected a name of 1 to 64 characters"),
        ({"says": Says.DEFECT, "grade": "dreadful"}, "expected a grade out of minor, major, critical"),
        ({"grade": "minor"}, "only a defect has a grade"),
    ],
)
def test_a_statement_that_says_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(FeedbackError, match=message):
        Statement(**{"says": Says.GOOD, "reason": "fine", "by": "Ada", **fields})  # type: ignore[arg-type]


def test_a_folder_that_is_no_archive_and_a_foreign_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FeedbackError, match="expected the folder of an archive"):
        FeedbackBook.open(tmp_path / "nowhere")
    (tmp_path / "feedback").mkdir()
    (tmp_path / "feedback" / "feedback.sqlite").write_bytes(b"something else, and long enough" * 10)
    with pytest.raises(FeedbackError, match="cannot be read or written"):
        FeedbackBook.open(tmp_path)
