"""A trail on the disk: one JSON line an entry, each with the sha256 of the one before, never written over.

A changed, removed or inserted line breaks the chain from there on. Removed *last* lines break nothing: for that, and
against somebody who computes the whole chain anew, compare its head with one that was written down elsewhere; every
entry is logged with it.

A power cut may leave the last line torn. The next entry goes below it and says how long the torn line is and what its
sha256 is (`torn`), so that it is told from one that somebody spoiled. Several processes may append: they take turns.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from engines.atomic import sync_directory
from engines.errors import InspectError
from engines.foreign import UNREADABLE

SCHEMA = 1
NOTHING_BEFORE = "0" * 64
_HASH = b',"sha256":"'
_HASH_LENGTH = len(_HASH) + 64 + len(b'"}')
_NEWLINE = b"\n"
_LONGEST_LINE = 1 << 16
_TAIL = 4 * _LONGEST_LINE


class AuditError(InspectError):
    """A trail that cannot be written or read, or that was tampered with."""

    exit_code = 1


class Torn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line that a power cut left unfinished: its length in bytes, and their sha256."""

    length: int
    sha256: str


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that was done.

    `at` is UTC, ISO 8601. `what` is the kind of change. `who` is who asked for it, as they say themselves; `key` the
    name of the key that their connection proved, None where it needed none. `previous` is the sha256 of the one before.
    """

    schema: int = SCHEMA
    number: int
    at: str
    station: str
    what: str
    who: str
    key: str | None = None
    details: dict[str, Any] = {}
    torn: Torn | None = None
    previous: str


@dataclass(frozen=True)
class Head:
    """The last entry's number and its sha256; (0, zeros) of an empty trail."""

    number: int = 0
    sha256: str = NOTHING_BEFORE


class AuditTrail:
    """Appends to the trail in `path`. Any number of them, in any processes, may append to the same file."""

    def __init__(self, path: Path, station: str) -> None:
        self.path = path
        self._station = station

    def append(self, what: str, who: str, key: str | None = None, details: Mapping[str, Any] | None = None) -> Head:
        """Write one entry, wait until it is on the disk, and return it as the new head.

        Raises AuditError where that cannot be done, or where the file's end is no trail's.
        """
        with self._opened() as file:
            end = self._end(file)
            entry = Entry(
                number=end.head.number + 1,
                at=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                station=self._station,
                what=what,
                who=who,
                key=key,
                details=dict(details or {}),
                torn=_torn(end.torn),
                previous=end.head.sha256,
            )
            line, digest = _line(entry)
            os.write(file, (b"" if end.ends_line else b"\n") + line)
            os.fsync(file)
            return Head(entry.number, digest)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = not self.path.exists()
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if new:
                    sync_directory(self.path.parent)
                yield file
            finally:
                os.close(file)
        except OSError as error:
            raise AuditError(f"the audit trail {self.path} cannot be written: {error.strerror}") from None

    def _end(self, file: int) -> _End:
        size = os.fstat(file).st_size
        # Holds the last whole line with what a power cut may have left after it.
        tail = os.pread(file, _TAIL, max(size - _TAIL, 0))
        *before, last = _groups(tail) or [_Group(1, None, None)]
        torn = last.torn if last.whole is None else None
        whole = last.whole if last.whole is not None or not before else before[-1].whole
        if whole is None:
            return _End(Head(), torn, not tail or tail.endswith(b"\n"))
        entry, digest = _parsed(whole, f"the last line of {self.path}")
        return _End(Head(entry.number, digest), torn, tail.endswith(b"\n"))


@dataclass(frozen=True)
class _End:
    """Where a trail ends: its head, what is torn after it, and whether a new line begins there."""

    head: Head
    torn: bytes | None
    ends_line: bool


@dataclass(frozen=True)
class _Group:
    """A whole line, None at the end of the file, with what is torn before it; `line` is the number of the last one."""

    line: int
    torn: bytes | None
    whole: bytes | None


@dataclass(frozen=True)
class Reading:
    """A trail that holds: its entries in order, and where a power cut tore its last line, how long that is."""

    entries: list[Entry]
    head: Head
    torn_bytes: int


def read_trail(path: Path) -> Reading:
    """Read and verify a whole trail. Raises AuditError that names the first line which does not hold."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AuditError(f"the audit trail {path} cannot be read: {error.strerror}") from None
    entries: list[Entry] = []
    head = Head()
    for group in _groups(data):
        if group.whole is None:
            return _torn_reading(entries, head, group, data, path)
        where = f"{path}, line {group.line}"
        entry, digest = _parsed(group.whole, where)
        _check(entry, head, group, where)
        entries.append(entry)
        head = Head(entry.number, digest)
    return Reading(entries, head, 0)


def _torn_reading(entries: list[Entry], head: Head, group: _Group, data: bytes, path: Path) -> Reading:
    if data.endswith(_NEWLINE):
        raise AuditError(f"{path}, line {group.line}: tampered with: it is a whole line and no entry")
    return Reading(entries, head, len(group.torn or b""))


def _check(entry: Entry, head: Head, group: _Group, where: str) -> None:
    if entry.number != head.number + 1:
        raise AuditError(f"{where}: tampered with: expected entry {head.number + 1}, found entry {entry.number}")
    if entry.previous != head.sha256:
        raise AuditError(f"{where}: tampered with: entry {entry.number} does not continue entry {head.number}")
    if entry.torn != _torn(group.torn):
        raise AuditError(
            f"{where}: tampered with: what is before it is not what entry {entry.number} found when it was written"
        )


def _groups(data: bytes) -> list[_Group]:
    groups: list[_Group] = []
    pending: list[bytes] = []
    pieces = data.split(_NEWLINE)
    for line, piece in enumerate(pieces[:-1] if not pieces[-1] else pieces, 1):
        if _is_whole(piece):
            groups.append(_Group(line, _NEWLINE.join(pending) if pending else None, piece))
            pending = []
        else:
            pending.append(piece)
    return [*groups, _Group(line, _NEWLINE.join(pending), None)] if pending else groups


def _torn(data: bytes | None) -> Torn | None:
    return None if data is None else Torn(len(data), hashlib.sha256(data).hexdigest())


def _line(entry: Entry) -> tuple[bytes, str]:
    body = msgspec.json.encode(entry)
    digest = hashlib.sha256(body).hexdigest()
    line = body[:-1] + _HASH + digest.encode() + b'"}\n'
    if len(line) > _LONGEST_LINE:
        raise AuditError(f"expected an entry of the audit trail of at most {_LONGEST_LINE} bytes, found {len(line)}")
    return line, digest


def _is_whole(line: bytes) -> bool:
    return line.endswith(b'"}') and line[-_HASH_LENGTH:].startswith(_HASH)


def _parsed(line: bytes, where: str) -> tuple[Entry, str]:
    body, digest = line[:-_HASH_LENGTH] + b"}", line[-66:-2].decode("ascii", "replace")
    if not _is_whole(line) or hashlib.sha256(body).hexdigest() != digest:
        raise AuditError(f"{where}: tampered with: it does not have the sha256 that it says")
    try:
        return msgspec.json.decode(body, type=Entry), digest
    except UNREADABLE as error:
        raise AuditError(f"{where}: no entry of an audit trail of schema {SCHEMA}: {error}") from None
