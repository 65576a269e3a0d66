"""The index of the archive: an SQLite database that one process writes and any number read meanwhile (WAL).

A key is the moment of capture in milliseconds since 1970, times 1024, plus a number that tells apart what was captured
in the same one. So the newest first is the order of the table itself, a span of time is a range of it, and a page goes
on below the last key, whatever has come or gone meanwhile. 53 bits hold it until 2248, so that JavaScript's numbers do.

Filters read narrow rows only. The verdicts, ten times as wide, are in a table of their own.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from edge.anomaly_map import MapView
from edge.archive.part import ArchivedPart, ArchiveError, Kept, Query
from edge.database import connect
from edge.verdict import Evaluation, MessageError, Verdict, decode

FILE_NAME = "index.sqlite"
PICTURES = "pictures"
KEYS_A_MS = 1 << 10
EVALUATIONS = tuple(Evaluation)
KEPT = tuple(Kept)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SCHEMA = 1
_APPLICATION = 0x45444749  # "EDGI"
_MOST_ROWS = 1000
_FEW = 5000
# evaluation, kept: places in EVALUATIONS and KEPT. bytes: what the part's files take up on the disk. drawn: whether the
# part is of the random sample, of which there was one in 1 / share.
_TABLES = """
CREATE TABLE cameras (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE folders (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, open INTEGER NOT NULL);
CREATE TABLE parts (
    key INTEGER PRIMARY KEY, evaluation INTEGER NOT NULL, kept INTEGER NOT NULL, camera INTEGER NOT NULL,
    product INTEGER NOT NULL, score REAL, folder INTEGER, bytes INTEGER NOT NULL, drawn INTEGER NOT NULL,
    share REAL NOT NULL, part_id TEXT
);
CREATE TABLE verdicts (
    key INTEGER PRIMARY KEY, message BLOB NOT NULL, picture INTEGER NOT NULL, map BLOB, missing TEXT NOT NULL
);
CREATE TABLE totals (evaluation INTEGER PRIMARY KEY, parts INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE doomed (path TEXT PRIMARY KEY);
CREATE INDEX parts_by_part_id ON parts (part_id) WHERE part_id IS NOT NULL;
CREATE INDEX parts_by_folder ON parts (folder) WHERE folder IS NOT NULL;
CREATE INDEX parts_by_evaluation ON parts (evaluation, key, score);
CREATE INDEX parts_by_score ON parts (score) WHERE score IS NOT NULL;
CREATE INDEX parts_by_drawn ON parts (drawn, key, score);
CREATE INDEX parts_by_camera ON parts (camera, key, score);
CREATE INDEX parts_by_product ON parts (product, key, score);
"""
_FOUND = """
SELECT parts.key, verdicts.message, products.name, parts.kept, folders.path, verdicts.picture, verdicts.map,
    verdicts.missing, parts.drawn, parts.share
FROM ({keys}) AS found
JOIN parts ON parts.key = found.key
JOIN verdicts ON verdicts.key = found.key
JOIN products ON products.id = parts.product
LEFT JOIN folders ON folders.id = parts.folder
ORDER BY parts.key DESC
"""


class ArchiveIndex:
    """The index of an archive in `folder`. Safe to use from several threads. Use it as a context manager."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder = folder
        self.database = database
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path, read_only: bool = True) -> ArchiveIndex:
        """Open the index that a station writes, or make it where it is not `read_only`.

        Raises ArchiveError where there is none, or one of another schema.
        """
        path = folder / FILE_NAME
        try:
            database = connect(path, read_only)
        except sqlite3.Error as error:
            raise ArchiveError(_unopened(path, error)) from None
        try:
            _check(database, path, read_only)
        except BaseException:
            database.close()
            raise
        return cls(folder, database)

    def __enter__(self) -> ArchiveIndex:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. Calling it twice is harmless."""
        self.database.close()

    def search(self, query: Query, limit: int = 100, before: int | None = None) -> list[ArchivedPart]:
        """The newest parts first, `limit` of them and 1000 at most; with `before`, those older than that key.

        Raises ArchiveError where the index cannot be read.
        """
        conditions: list[str] = []
        values: list[object] = []
        for condition, value in self._conditions(query, before):
            conditions.append(condition)
            values.append(value)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        index = "INDEXED BY parts_by_score" if self._has_few(query) else ""
        keys = f"SELECT key FROM parts {index} {where} ORDER BY key DESC LIMIT ?"
        return self._found(keys, [*values, min(max(limit, 0), _MOST_ROWS)])

    def part(self, key: int) -> ArchivedPart | None:
        """The part with this key; None where there is none, or none any more."""
        return next(iter(self._found("SELECT ? AS key", [key])), None)

    def cameras(self) -> list[str]:
        """Names of the cameras that there ever were, in order."""
        return [name for (name,) in self._rows("SELECT name FROM cameras ORDER BY name")]

    def products(self) -> list[str]:
        """Names of the products that there ever were, in order."""
        return [name for (name,) in self._rows("SELECT name FROM products ORDER BY name")]

    def _has_few(self, query: Query) -> bool:
        """Whether so few parts have a score within the limits that sorting them is faster than looking from the newest.

        Of many the newest page is soon together; of few nearly the whole table would have to be read.
        """
        if query.min_score is None and query.max_score is None:
            return False
        least = -math.inf if query.min_score is None else query.min_score
        most = math.inf if query.max_score is None else query.max_score
        within = "SELECT 1 FROM parts INDEXED BY parts_by_score WHERE score >= ? AND score <= ? LIMIT ?"
        return len(self._rows(within, (least, most, _FEW))) < _FEW

    def _conditions(self, query: Query, before: int | None) -> Iterator[tuple[str, object]]:
        if before is not None:
            yield "key < ?", before
        if query.since is not None:
            yield "key >= ?", first_key(milliseconds(query.since))
        if query.until is not None:
            yield "key < ?", first_key(milliseconds(query.until) + 1)
        if query.part_id is not None:
            yield "part_id = ?", query.part_id
        # Of what is not OK there is little: no index of cameras or products is to be taken instead of its own.
        rare = "+" if query.evaluation not in (None, Evaluation.OK) else ""
        if query.camera is not None:
            yield f"{rare}camera = (SELECT id FROM cameras WHERE name = ?)", query.camera
        if query.product is not None:
            yield f"{rare}product = (SELECT id FROM products WHERE name = ?)", query.product
        if query.evaluation is not None:
            yield "evaluation = ?", EVALUATIONS.index(query.evaluation)
        if query.drawn is not None:
            yield "drawn = ?", query.drawn
        if query.min_score is not None:
            yield "score >= ?", query.min_score
        if query.max_score is not None:
            yield "score <= ?", query.max_score

    def _found(self, keys: str, values: Sequence[object]) -> list[ArchivedPart]:
        return [self._part(row) for row in self._rows(_FOUND.format(keys=keys), values)]

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock, _readable(self.folder / FILE_NAME):
            return self.database.execute(statement, values).fetchall()

    def _part(self, row: tuple[Any, ...]) -> ArchivedPart:
        key, message, product, kept, folder, has_picture, view, missing, drawn, share = row
        place = self.folder / PICTURES / str(folder)
        return ArchivedPart(
            key=key,
            verdict=_verdict(message),
            product=product,
            kept_because=KEPT[kept],
            picture=place / picture_name(key) if has_picture else None,
            map=place / map_name(key) if view is not None else None,
            map_view=None if view is None else msgspec.json.decode(view, type=MapView),
            missing=missing,
            drawn=bool(drawn),
            share=share,
        )


def picture_name(key: int) -> str:
    """File name of a part's frame."""
    return f"{key}.png"


def map_name(key: int) -> str:
    """File name of a part's map."""
    return f"{key}.map.png"


def first_key(captured_ms: int) -> int:
    """The smallest key of what was captured in this millisecond since 1970."""
    return captured_ms * KEYS_A_MS


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970 of a moment with a time zone."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _verdict(message: bytes) -> Verdict:
    verdict = decode(message)
    if not isinstance(verdict, Verdict):
        raise MessageError("expected a verdict in the archive, found another message")
    return verdict


def _check(database: sqlite3.Connection, path: Path, read_only: bool) -> None:
    try:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (schema,) = database.execute("PRAGMA user_version").fetchone()
        if (application, schema) == (0, 0) and not read_only:
            _create(database)
            return
    except sqlite3.Error as error:
        raise ArchiveError(_unopened(path, error)) from None
    if application != _APPLICATION:
        raise ArchiveError(f"expected the index of an archive at {path}, found another file")
    if schema != _SCHEMA:
        raise ArchiveError(
            f"expected schema {_SCHEMA} in {path}, found {schema}; install the version of edge-inspect that wrote it, "
            "or name another folder"
        )


def _unopened(path: Path, error: sqlite3.Error) -> str:
    problem = f"expected the index of an archive at {path}, which cannot be opened: {error}"
    try:
        owner = path.stat().st_uid
    except PermissionError:
        return f"{problem}; the user {os.geteuid()} may not look into {path.parent}: read as the user of the daemon"
    except OSError:
        return problem
    if os.access(path.parent, os.W_OK):
        return problem
    # While the daemon runs a reader finds its -shm file; when it has ended, the first reader has to make one.
    return (
        f"{problem}; the user {os.geteuid()} may not write in {path.parent}, which SQLite takes from readers while the "
        f"daemon does not run: read as the user {owner}, or start the daemon"
    )


def _create(database: sqlite3.Connection) -> None:
    # Both are kept in the file; the first must be set before there is a table, and WAL outside of a transaction.
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(
        f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_SCHEMA}; COMMIT;"
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ArchiveError(f"the archive's index {path} cannot be read: {error}") from None
