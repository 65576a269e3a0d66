"""The worker that archives: it takes what the publisher has sent, and keeps what the table says, when there is time.

Nothing here may hold up a verdict. The publisher hands over references and never waits: no lock is shared, since this
thread has a low priority, and one that it held while others had the processor would be waited for. Of what does not
fit the picture goes first and the verdict last. A disk that is full, broken or away costs what would have been kept, is
told in every heartbeat, and is tried again until it works.
"""

from __future__ import annotations

import errno
import logging
import random
import shutil
import sqlite3
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from edge.archive.part import ArchiveError, Kept
from edge.archive.retention import SLACK, Retention
from edge.archive.store import ArchiveStore, Entry, Room
from edge.archive.table import ArchiveTable
from edge.inspector import Judgement
from edge.verdict import ArchiveStatus, Evaluation, State, Verdict
from edge.worker import Job, give_way

_log = logging.getLogger(__name__)
_GB = 1_000_000_000
_PATIENCE_S = 0.05
_RETRY_S = 1.0
_RETENTION_S = 60.0
_A_BATCH = 64
# About 2 kB each.
_MOST_WAITING = 20_000
_RECOVERED = 1.1
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Why a part is kept without pictures.
OVERRUN, DISK_FULL, DISK_ERROR, NO_FRAME = "overrun", "disk full", "disk error", "no frame"
LOSS_CAUSES = (OVERRUN, DISK_FULL, DISK_ERROR)


class Archivist(Job):
    """Keeps parts in the archive of one station. `offer` is for the publisher's thread alone."""

    def __init__(self, table: ArchiveTable) -> None:
        self._table = table
        self._retention = Retention(
            round(table.max_gb * _GB), None if table.max_age_days is None else timedelta(days=table.max_age_days)
        )
        self._random = random.Random()
        self._waiting: deque[Entry] = deque()
        self._at_work: list[Entry] = []
        self._closed = False
        self._store: ArchiveStore | None = None
        self._room = Room(0, 0, 0)
        self._fault = self._trouble = ""
        self._disk_full = False
        self._retention_due = 0.0
        # Each is written by one thread only, and read by the other.
        self._pictures_in = self._pictures_out = self._kept = self._verdicts_lost = 0
        self._overruns = 0
        self._unwritten: Counter[str] = Counter()

    def offer(self, verdict: Verdict, judgement: Judgement) -> None:
        """Keep a part whose verdict was sent, if it is one to be kept. It never waits and never fails."""
        share = self._table.ok_share
        # For every part, and before anybody looks at its verdict: otherwise the sample would speak for some parts only.
        drawn = self._random.random() < share
        kept = self._why_kept(verdict, drawn)
        if kept is None:
            return
        if self._closed or len(self._waiting) >= _MOST_WAITING:
            self._verdicts_lost += 1
            return
        entry = Entry(verdict, judgement.recipe.bundle.info.product, kept, drawn, share)
        if kept is not Kept.VERDICT:
            entry = self._with_pictures(entry, judgement)
        self._pictures_in += entry.frame is not None
        self._waiting.append(entry)

    def close(self) -> None:
        """Nothing more will be offered: it ends when what waits is written. From any thread."""
        self._closed = True

    def give_up(self, reason: str) -> None:
        """Keep nothing any more, and say why. From any thread."""
        if not self._closed:
            self._closed = True
            self._tell(reason)

    def status(self) -> ArchiveStatus:
        """How the archive is now. From any thread."""
        room, fault = self._room, self._fault
        lost = dict(self._unwritten)
        if self._overruns:
            lost[OVERRUN] = self._overruns
        return ArchiveStatus(
            state=State.DEGRADED if fault else State.RUNNING,
            reason=fault,
            parts=room.parts,
            bytes=room.total,
            limit_bytes=self._retention.max_bytes,
            waiting=len(self._waiting) + len(self._at_work),
            kept=self._kept,
            pictures_lost=lost,
            verdicts_lost=self._verdicts_lost,
        )

    def setup(self) -> None:
        """Give way to every worker that judges. The archive is opened by the first step, for that may fail for long."""
        give_way()

    def step(self, stopping: threading.Event) -> bool:
        """Write what waits, and remove what has to go. False when it is closed and nothing waits."""
        self._take()
        if self._closed and not self._at_work:
            return False
        try:
            if self._store is None:
                self._store = ArchiveStore(self._table.folder)
            self._work(self._store)
        except (OSError, sqlite3.Error, ArchiveError) as error:
            self._fail(error)
            stopping.wait(_RETRY_S)
            return not self._closed
        if not self._at_work and not self._waiting:
            stopping.wait(_PATIENCE_S)
        return True

    def teardown(self) -> None:
        """Close the archive. What still waits at the end of the station is lost."""
        self._close_store()
        left = len(self._waiting) + len(self._at_work)
        if self._closed and left:
            self._verdicts_lost += left
            _log.error("the archive lost the last %d parts: they could not be written in time", left)

    def _why_kept(self, verdict: Verdict, drawn: bool) -> Kept | None:
        if verdict.evaluation is not Evaluation.OK:
            return Kept.REJECT
        if verdict.review:
            return Kept.REVIEW
        if drawn:
            return Kept.SAMPLE
        return Kept.VERDICT if self._table.ok_verdicts else None

    def _with_pictures(self, entry: Entry, judgement: Judgement) -> Entry:
        if judgement.frame.image is None:
            return replace(entry, missing=NO_FRAME)
        if self._pictures_in - self._pictures_out >= self._table.pictures:
            self._overruns += 1
            return replace(entry, missing=OVERRUN)
        return replace(entry, frame=judgement.frame.image, map=judgement.map)

    def _take(self) -> None:
        """Fill the batch, with so little that the archive does not grow far beyond its limit by it."""
        size, most = 0, self._retention.max_bytes * SLACK
        while not self._at_work or (len(self._at_work) < _A_BATCH and size < most):
            try:
                entry = self._waiting.popleft()
            except IndexError:
                return
            self._at_work.append(entry)
            size += 0 if entry.frame is None else entry.frame.nbytes

    def _work(self, store: ArchiveStore) -> None:
        self._look_at_disk()
        if self._disk_full:
            self._at_work = [self._without(entry, DISK_FULL) for entry in self._at_work]
        if self._at_work:
            self._write(store)
        if time.monotonic() >= self._retention_due or store.room().total > self._retention.max_bytes:
            self._retention_due = time.monotonic() + (0.0 if self._retention.apply(store) else _RETENTION_S)
        self._room = store.room()
        full = f"less than {self._table.keep_free_gb:g} GB is free on its disk: verdicts are kept, and no pictures"
        self._tell(full if self._disk_full else self._trouble)

    def _write(self, store: ArchiveStore) -> None:
        try:
            self._written(store, self._at_work)
        except OSError as error:
            # Not of all of them, it may be: one by one, and what cannot be written then goes without its pictures.
            _log.warning("the archive writes parts one by one, since one cannot be written: %s", error)
            while self._at_work:
                self._write_one(store, self._at_work[0])

    def _write_one(self, store: ArchiveStore, entry: Entry) -> None:
        try:
            self._written(store, [entry])
        except OSError as error:
            self._trouble = f"a picture could not be written: {_reason(error)}"
            self._at_work[0] = self._without(entry, _cause(error))
            self._written(store, self._at_work[:1])

    def _written(self, store: ArchiveStore, entries: list[Entry]) -> None:
        store.add(entries)
        pictures = sum(entry.frame is not None for entry in entries)
        self._kept += len(entries)
        self._pictures_out += pictures
        if pictures:
            self._trouble = ""
        self._at_work = self._at_work[len(entries) :]

    def _without(self, entry: Entry, cause: str) -> Entry:
        if entry.frame is None:
            return entry
        self._unwritten[cause] += 1
        self._pictures_out += 1
        return replace(entry, frame=None, map=None, missing=cause)

    def _look_at_disk(self) -> None:
        free, least = shutil.disk_usage(self._table.folder).free, self._table.keep_free_gb * _GB
        self._disk_full = free < least * (_RECOVERED if self._disk_full else 1.0)

    def _fail(self, error: Exception) -> None:
        """The index cannot be written: what waits goes on waiting, and of what comes the pictures soon have no room."""
        self._close_store()
        self._tell(f"nothing can be kept now: {_reason(error)}")

    def _close_store(self) -> None:
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
        self._store = None

    def _tell(self, fault: str) -> None:
        if fault and fault != self._fault:
            _log.error("the archive is degraded: %s", fault)
        elif self._fault and not fault:
            _log.warning("the archive keeps everything again")
        self._fault = fault


def _cause(error: OSError) -> str:
    return DISK_FULL if error.errno in _FULL else DISK_ERROR


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
