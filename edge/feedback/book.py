"""The book of opinions: nothing in it is ever changed, and the last word on a part counts.

An SQLite file in a folder of its own inside the archive's, for any number of processes. An opinion comes with the frame
of its part, as a second name of the archive's file, so that the archive may remove its own when it has to. The frame is
on the disk before the opinion is committed, both under the lock that all writers share.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.archive.index import picture_name
from edge.archive.part import ArchivedPart, Kept
from edge.audit.trail import AuditTrail
from edge.database import connect, transaction
from edge.feedback.opinion import FeedbackError, Opinion, Says, Statement
from edge.verdict import MessageError, Verdict, decode, encode
from engines.atomic import sync_directory, write_durably

FOLDER = "feedback"
_FILE_NAME = "feedback.sqlite"
_PICTURES = "pictures"
_DRAFT = ".draft"
_APPLICATION = 0x45444642  # "EDFB"
_SCHEMA = 1
# What a file system answers that has no second names for files, or not across its borders.
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS})
_TABLES = """
CREATE TABLE opinions (
    number INTEGER PRIMARY KEY, key INTEGER NOT NULL, says TEXT NOT NULL, reason TEXT NOT NULL, by TEXT NOT NULL,
    grade TEXT, at TEXT NOT NULL, message BLOB NOT NULL, product TEXT NOT NULL, kept TEXT NOT NULL,
    picture INTEGER NOT NULL
);
CREATE INDEX opinions_by_key ON opinions (key, number);
CREATE TRIGGER nothing_is_changed BEFORE UPDATE ON opinions BEGIN SELECT RAISE(ABORT, 'opinions are only added'); END;
CREATE TRIGGER nothing_is_deleted BEFORE DELETE ON opinions BEGIN SELECT RAISE(ABORT, 'opinions are only added'); END;
"""
_COLUMNS = "key, says, reason, by, grade, at, message, product, kept, picture"
_LAST_WORDS = f"SELECT {_COLUMNS} FROM opinions WHERE number IN (SELECT max(number) FROM opinions GROUP BY key)"


class FeedbackBook:
    """The opinions on the parts of the archive in `archive`. Use it as a context manager, in one thread."""

    def __init__(self, archive: Path, database: sqlite3.Connection, trail: AuditTrail | None = None) -> None:
        self.folder = archive / FOLDER
        self._database = database
        self._trail = trail

    @classmethod
    def open(cls, archive: Path, trail: AuditTrail | None = None) -> FeedbackBook:
        """Open the book, or begin it; opinions are audited in the `trail`, where there is one.

        Raises FeedbackError where that cannot be done.
        """
        if not archive.is_dir():
            raise FeedbackError(f"expected the folder of an archive at {archive}, found none; name `[archive] folder`")
        path = archive / FOLDER / _FILE_NAME
        try:
            (archive / FOLDER / _PICTURES).mkdir(parents=True, exist_ok=True)
            database = connect(path)
        except (OSError, sqlite3.Error) as error:
            raise FeedbackError(f"cannot write in {path.parent}: {error}; let this user write there") from None
        book = cls(archive, database, trail)
        try:
            book._set_up()
        except BaseException:
            database.close()
            raise
        return book

    def __enter__(self) -> FeedbackBook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. Calling it twice is harmless."""
        self._database.close()

    def add(self, part: ArchivedPart, statement: Statement) -> Opinion:
        """Write down what is said of a part, with its frame. When it returns, neither a kill nor a power cut undoes it.

        Raises FeedbackError where it cannot be written, and AuditError where it cannot be audited, which it is not
        written without.
        """
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with self._transaction():
            has_picture = self._hold(part)
            opinion = Opinion(part.key, statement, at, part.verdict, part.product, part.kept_because, has_picture)
            self._database.execute(
                f"INSERT INTO opinions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(opinion)
            )
            # Before the commit: a kill in between leaves an entry without an opinion, and never the other way round.
            self._audit(opinion)
        return opinion

    def of(self, key: int) -> list[Opinion]:
        """Everything that was said of one part, the last word at the end."""
        return self._found(f"SELECT {_COLUMNS} FROM opinions WHERE key = ? ORDER BY number", (key,))

    def last_words(self, product: str | None = None) -> list[Opinion]:
        """The last word on every part, the oldest part first; parts whose opinion was withdrawn are left out."""
        where, values = "AND says != ?", [Says.WITHDRAWN.value]
        if product is not None:
            where, values = f"{where} AND product = ?", [*values, product]
        return self._found(f"{_LAST_WORDS} {where} ORDER BY key", values)

    def picture(self, opinion: Opinion) -> Path | None:
        """The frame of the part, a PNG as the camera gave it; None where it was gone when the opinion came."""
        return self.folder / _PICTURES / picture_name(opinion.key) if opinion.has_picture else None

    def _set_up(self) -> None:
        self._execute("PRAGMA synchronous = EXTRA")
        with self._transaction():
            (application,) = self._execute("PRAGMA application_id").fetchone()
            (schema,) = self._execute("PRAGMA user_version").fetchone()
            if (application, schema) == (0, 0):
                self._create()
            elif (application, schema) != (_APPLICATION, _SCHEMA):
                raise FeedbackError(
                    f"expected feedback of schema {_SCHEMA} in {self.folder / _FILE_NAME}, found another file or schema"
                )

    def _create(self) -> None:
        # Not executescript, which would commit first: two processes may begin the book at once.
        statement = ""
        for line in _TABLES.splitlines():
            statement += f"{line}\n"
            if sqlite3.complete_statement(statement):
                self._database.execute(statement)
                statement = ""
        self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._database.execute(f"PRAGMA user_version = {_SCHEMA}")

    def _audit(self, opinion: Opinion) -> None:
        if self._trail is None:
            return
        said, verdict = opinion.statement, opinion.verdict
        part = {"part": opinion.key, "part_id": verdict.part_id, "evaluation": verdict.evaluation.value}
        told = {"says": said.says.value, "reason": said.reason, "grade": said.grade}
        self._trail.append("feedback", said.by, details={**part, **told})

    def _hold(self, part: ArchivedPart) -> bool:
        """Give the part's frame a second name in the book's folder; False where the archive has it no more."""
        place = self.folder / _PICTURES / picture_name(part.key)
        if place.exists():
            return True
        if part.picture is None:
            return False
        try:
            _second_name(part.picture, place)
        except FileNotFoundError:
            return False
        sync_directory(place.parent)
        return True

    def _found(self, statement: str, values: Sequence[object]) -> list[Opinion]:
        return [_opinion(row) for row in self._execute(statement, values).fetchall()]

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with _usable(self.folder):
            return self._database.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _usable(self.folder), transaction(self._database):
            yield


def _second_name(source: Path, place: Path) -> None:
    try:
        place.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        draft = place.with_name(f"{place.name}{_DRAFT}")
        draft.unlink(missing_ok=True)
        write_durably(draft, source.read_bytes())
        draft.replace(place)


def _row(opinion: Opinion) -> tuple[object, ...]:
    said = opinion.statement
    return (
        opinion.key,
        said.says.value,
        said.reason,
        said.by,
        said.grade,
        opinion.at,
        encode(opinion.verdict),
        opinion.product,
        opinion.kept.value,
        opinion.has_picture,
    )


def _opinion(row: tuple[Any, ...]) -> Opinion:
    key, says, reason, by, grade, at, message, product, kept, picture = row
    verdict = decode(message)
    if not isinstance(verdict, Verdict):
        raise MessageError("expected a verdict beside an opinion, found another message")
    return Opinion(key, Statement(Says(says), reason, by, grade), at, verdict, product, Kept(kept), bool(picture))


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise FeedbackError(f"the feedback in {folder} cannot be read or written: {error}") from None
