"""The archive's one writer: parts in, parts out, and index and files that agree after any end of the process.

Files are on the disk before the row that names them is committed, and rows are gone from the disk before their files
are deleted. What an end in the middle leaves is found without a look at everything: new files lie in a folder that the
index knew as open before, doomed ones are listed in it. So `open` puts it right, however large the archive is.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.anomaly_map import AnomalyMap, MapView
from edge.archive.encoder import Encoder
from edge.archive.index import (
    EVALUATIONS,
    KEPT,
    PICTURES,
    ArchiveIndex,
    first_key,
    map_name,
    milliseconds,
    picture_name,
)
from edge.archive.part import ArchiveError, Kept
from edge.archive.pictures import write_pictures
from edge.database import transaction
from edge.verdict import Evaluation, Verdict, encode
from engines.atomic import sync_directory

PARTS_A_FOLDER = 1000
_LOCK = "writer.lock"
_PAGES_A_VACUUM = 1000
# SQLite writes its log back at 1000 pages of 4 KiB, and its file stays as large.
_LOG_BYTES = 4 << 20
_CHUNK = 500
_ANY_OK = "SELECT 1 FROM parts WHERE evaluation = ? LIMIT 1"


@dataclass(frozen=True)
class Entry:
    """One part on its way into the archive; arrays are taken as they are and not copied.

    `frame` is uint8, BGR `(H, W, 3)` or grey `(H, W)`. Where pictures should be held and cannot be, `missing` says why.
    `drawn` parts are of the random sample, which takes the `share` of all, 0 to 1.
    """

    verdict: Verdict
    product: str
    kept: Kept
    drawn: bool = False
    share: float = 0.0
    frame: NDArray[np.uint8] | None = None
    map: AnomalyMap | None = None
    missing: str = ""


@dataclass(frozen=True)
class Room:
    """How many parts the archive holds, and what it takes up in bytes: pictures, in whole blocks, and the index.

    The index counts with its log at full length, which comes and goes.
    """

    parts: int
    pictures: int
    index: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.pictures + self.index


class ArchiveStore:
    """Writes an archive in `folder`, which is made where it is absent. Use it as a context manager, in one thread.

    What it raises leaves the archive as it was before the call: sqlite3.Error and OSError.
    """

    def __init__(self, folder: Path) -> None:
        """Put right what an earlier end left, and begin. Raises ArchiveError, also where another process writes it."""
        self.folder = folder
        self._names: dict[tuple[str, str], int] = {}
        self._open_folder: tuple[int, Path] | None = None
        self._room_in_folder = 0
        self._encoder = Encoder()
        self._lock = _locked(folder)
        try:
            self.index = ArchiveIndex.open(folder, read_only=False)
            try:
                self._database = self.index.database
                self._set_up()
            except BaseException:
                self.index.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> ArchiveStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index and let another writer in."""
        self._encoder.close()
        try:
            self.index.close()
        finally:
            os.close(self._lock)

    def add(self, entries: Sequence[Entry]) -> list[int]:
        """Hold these parts, all or none, and return their keys. When it returns, a kill costs none of them.

        Raises OSError where a picture cannot be written.
        """
        keys: list[int] = []
        folder = self._folder_for(entries)
        try:
            with self._transaction():
                keys.extend(self._add(entry, folder) for entry in entries)
                if folder is not None:
                    sync_directory(folder[1])
        except BaseException:
            self._discard(folder, len(entries))
            raise
        return keys

    def remove(self, keys: Sequence[int]) -> int:
        """Hold these parts no longer, and return how many of them there were."""
        removed = sum(self._remove(keys[begin : begin + _CHUNK]) for begin in range(0, len(keys), _CHUNK))
        if removed:
            # A script: Python's execute takes one step of a statement without columns, which is one page.
            self._database.executescript(f"PRAGMA incremental_vacuum({_PAGES_A_VACUUM})")
            # Only now does the file shrink. Passive: it waits for no reader.
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return removed

    def oldest(self, evaluation: Evaluation, number: int, before: datetime | None = None) -> list[int]:
        """Keys of the oldest parts of one evaluation, at most so many; with `before`, of those captured earlier."""
        limit = (1 << 63) - 1 if before is None else first_key(milliseconds(before))
        rows = self._database.execute(
            "SELECT key FROM parts WHERE evaluation = ? AND key < ? ORDER BY key LIMIT ?",
            (EVALUATIONS.index(evaluation), limit, number),
        )
        return [key for (key,) in rows]

    def first_to_go(self, size: int, number: int) -> list[int]:
        """Keys of the oldest parts that are OK, or where there are none, of the oldest others.

        As many as it takes to make room for `size` bytes, and `number` at most.
        """
        ok = EVALUATIONS.index(Evaluation.OK)
        wanted = "evaluation = ?" if self._database.execute(_ANY_OK, (ok,)).fetchone() else "+evaluation != ?"
        rows = self._database.execute(
            f"SELECT key, bytes FROM parts WHERE {wanted} ORDER BY key LIMIT ?", (ok, number)
        ).fetchall()
        room = self.room()
        each = room.index / max(room.parts, 1)
        found: list[int] = []
        for key, part in rows:
            if size <= 0:
                break
            found.append(key)
            size -= part + each
        return found

    def room(self) -> Room:
        """What the archive takes up now."""
        sums = "SELECT coalesce(sum(parts), 0), coalesce(sum(bytes), 0) FROM totals"
        parts, size = self._database.execute(sums).fetchone()
        (pages,) = self._database.execute("PRAGMA page_count").fetchone()
        (page,) = self._database.execute("PRAGMA page_size").fetchone()
        return Room(parts, size, pages * page + _LOG_BYTES)

    def _set_up(self) -> None:
        self._database.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        self._database.execute("PRAGMA synchronous = NORMAL")
        (self.folder / PICTURES).mkdir(exist_ok=True)
        self._delete_doomed()
        opened = self._database.execute("SELECT id, path FROM folders WHERE open").fetchall()
        for number, path in opened:
            self._delete_orphans(number, self.folder / PICTURES / path)
        with self._transaction():
            self._database.execute("UPDATE folders SET open = 0 WHERE open")
            self._forget_empty(Path(path) for _, path in opened)

    def _add(self, entry: Entry, folder: tuple[int, Path] | None) -> int:
        key = self._free_key(entry.verdict)
        size, view = 0, None
        if entry.frame is not None and folder is not None:
            shown = entry.map if entry.map is not None and entry.map.finite else None
            view = None if shown is None else shown.view(entry.frame.shape)
            grey = None if shown is None else shown.grey()
            size = write_pictures(folder[1], key, entry.frame, grey, self._encoder)
        self._insert(key, entry, folder[0] if folder and size else None, size, view)
        return key

    def _insert(self, key: int, entry: Entry, folder: int | None, size: int, view: MapView | None) -> None:
        verdict, evaluation = entry.verdict, EVALUATIONS.index(entry.verdict.evaluation)
        camera, product = self._id("cameras", verdict.camera), self._id("products", entry.product)
        shown = None if view is None else msgspec.json.encode(view)
        self._database.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(key, evaluation, KEPT.index(entry.kept), camera, product),
                *(verdict.score, folder, size, entry.drawn, entry.share, verdict.part_id),
            ),
        )
        self._database.execute(
            "INSERT INTO verdicts VALUES (?, ?, ?, ?, ?)",
            (key, encode(verdict), entry.frame is not None, shown, entry.missing),
        )
        self._count(evaluation, 1, size)

    def _count(self, evaluation: int, parts: int, size: int) -> None:
        self._database.execute(
            "INSERT INTO totals VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET parts = parts + excluded.parts, bytes = bytes + excluded.bytes",
            (evaluation, parts, size),
        )

    def _free_key(self, verdict: Verdict) -> int:
        key = first_key(milliseconds(datetime.fromisoformat(verdict.captured_at)))
        while self._database.execute("SELECT 1 FROM parts WHERE key = ?", (key,)).fetchone():
            key += 1
        return key

    def _id(self, table: str, name: str) -> int:
        if (table, name) not in self._names:
            self._database.execute(f"INSERT OR IGNORE INTO {table} (name) VALUES (?)", (name,))
            (found,) = self._database.execute(f"SELECT id FROM {table} WHERE name = ?", (name,)).fetchone()
            self._names[table, name] = found
        return self._names[table, name]

    def _folder_for(self, entries: Iterable[Entry]) -> tuple[int, Path] | None:
        """The folder that is open for new files, with room for those of `entries`; None where they have none."""
        needed = sum(entry.frame is not None for entry in entries)
        if not needed:
            return None
        if self._open_folder is None or self._room_in_folder < needed:
            self._open_folder = self._next_folder()
            self._room_in_folder = PARTS_A_FOLDER
        self._room_in_folder -= needed
        return self._open_folder

    def _next_folder(self) -> tuple[int, Path]:
        day = datetime.now(timezone.utc).date().isoformat()
        with self._transaction(durable=True):
            self._database.execute("UPDATE folders SET open = 0 WHERE open")
            (last,) = self._database.execute("SELECT coalesce(max(id), 0) FROM folders").fetchone()
            name = f"{day}/{last + 1:06d}"
            self._database.execute("INSERT INTO folders VALUES (?, ?, 1)", (last + 1, name))
        path = self.folder / PICTURES / name
        path.mkdir(parents=True, exist_ok=True)
        sync_directory(path.parent)
        sync_directory(path.parent.parent)
        return last + 1, path

    def _remove(self, keys: Sequence[int]) -> int:
        marks = ",".join("?" * len(keys))
        found = self._database.execute(
            "SELECT parts.key, evaluation, bytes, path FROM parts LEFT JOIN folders ON folders.id = folder "
            f"WHERE parts.key IN ({marks})",
            keys,
        ).fetchall()
        with self._transaction(durable=True):
            doomed = [
                (f"{path}/{name(key)}",)
                for key, _, _, path in found
                if path is not None
                for name in (picture_name, map_name)
            ]
            self._database.executemany("INSERT OR IGNORE INTO doomed VALUES (?)", doomed)
            for table in ("verdicts", "parts"):
                self._database.execute(f"DELETE FROM {table} WHERE key IN ({marks})", keys)
            for evaluation, number in Counter(evaluation for _, evaluation, _, _ in found).items():
                self._count(evaluation, -number, -sum(size for _, each, size, _ in found if each == evaluation))
        self._delete_doomed()
        return len(found)

    def _delete_doomed(self) -> None:
        doomed = [path for (path,) in self._database.execute("SELECT path FROM doomed")]
        for path in doomed:
            (self.folder / PICTURES / path).unlink(missing_ok=True)
        with self._transaction():
            self._database.execute("DELETE FROM doomed")
            self._forget_empty({Path(path).parent for path in doomed})

    def _forget_empty(self, folders: Iterable[Path]) -> None:
        """Delete those folders, and their days', that nothing is in any more; the open one stays."""
        for folder in folders:
            opened = self._database.execute("SELECT 1 FROM folders WHERE path = ? AND open", (str(folder),)).fetchone()
            place = self.folder / PICTURES / folder
            if opened or (place.exists() and any(place.iterdir())):
                continue
            with suppress(OSError):
                place.rmdir()
                place.parent.rmdir()
            self._database.execute("DELETE FROM folders WHERE path = ?", (str(folder),))

    def _delete_orphans(self, number: int, folder: Path) -> None:
        rows = self._database.execute(
            "SELECT parts.key, map IS NOT NULL FROM parts JOIN verdicts USING (key) WHERE folder = ?", (number,)
        )
        known = {name for key, has_map in rows for name in _names(key, has_map)}
        for file in folder.iterdir() if folder.exists() else ():
            if file.name not in known:
                file.unlink()

    def _discard(self, folder: tuple[int, Path] | None, number: int) -> None:
        """Delete what a transaction that failed has written; what cannot be, the next start deletes."""
        self._names.clear()
        if folder is not None and number:
            with suppress(OSError, sqlite3.Error):
                self._delete_orphans(*folder)

    @contextmanager
    def _transaction(self, durable: bool = False) -> Iterator[None]:
        """All or nothing; `durable`, also against a power cut, else against the end of the process."""
        if durable:
            self._database.execute("PRAGMA synchronous = FULL")
        try:
            with transaction(self._database):
                yield
        finally:
            if durable:
                self._database.execute("PRAGMA synchronous = NORMAL")


def _names(key: int, has_map: bool) -> Iterator[str]:
    yield picture_name(key)
    if has_map:
        yield map_name(key)


def _locked(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ArchiveError(
            f"archive.folder: cannot write in {folder}: {error.strerror}; name another one or let the daemon's user in"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        why = f"another process writes the archive in {folder}; each station takes a folder of its own"
        raise ArchiveError(why) from None
    return lock
