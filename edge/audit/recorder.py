"""Writes down what is done to the station, in a thread of its own: a disk that hangs holds up no verdict.

A request is answered once its entry is on the disk. An entry that cannot be written undoes nothing: it is said in the
answer and in the log, whole.
"""

from __future__ import annotations

import getpass
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from edge.audit.trail import AuditError, AuditTrail, Entry, Head, read_trail
from edge.requests import Done, Refused, Reply, Request
from edge.worker import Job, Worker, WorkerError

_log = logging.getLogger(__name__)
_PATIENCE_S = 0.1
_LAST_WORDS_S = 5.0
_NOT_OF_INTEREST = ("type", "schema", "request_id", "asked_by")
NOT_SAID = "not said"


class InForce(msgspec.Struct, frozen=True):
    """What a camera's parts are judged by."""

    recipe: str
    bundle_digest: str
    threshold: float
    map_threshold: float


@dataclass(frozen=True)
class _Note:
    what: str
    who: str
    key: str | None
    details: dict[str, Any]
    in_force: Mapping[str, InForce]
    written: Callable[[str], None] = lambda problem: None


class Recorder(Job):
    """Keeps one process's trail. `in_force` says what judges now, by camera: a threshold that moved has an entry.

    Use it as a context manager; leaving it writes what waits, for some seconds at most.
    """

    def __init__(self, trail: AuditTrail, in_force: Callable[[], Mapping[str, InForce]] = dict) -> None:
        self.failures = 0
        """Entries that could not be written."""
        self._trail = trail
        self._in_force = in_force
        self._notes: queue.SimpleQueue[_Note | None] = queue.SimpleQueue()
        self._known: dict[tuple[str, str], InForce] = {}
        self._refused: _Note | None = None
        self._worker = Worker("audit", self)

    def __enter__(self) -> Recorder:
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._notes.put(None)
        try:
            self._worker.join(_LAST_WORDS_S)
        except WorkerError:
            _log.error("the audit trail %s is not done: its disk hangs", self._trail.path)

    def note(self, what: str, who: str, details: Mapping[str, Any] | None = None) -> None:
        """Write down something that was done. From any thread; it never waits."""
        self._notes.put(_Note(what, who, None, dict(details or {}), self._in_force()))

    def answered(self, request: Request, key: str | None, answer: Reply | Future[Reply]) -> Future[Reply]:
        """Write down a request and what became of it; the reply is there once that is done."""
        told: Future[Reply] = Future()

        def settle(reply: Reply) -> None:
            what = str(request.__struct_config__.tag)
            details = {"request": _asked(request), **_outcome(reply)}
            who, now = request.asked_by or NOT_SAID, self._in_force()
            self._notes.put(_Note(what, who, key, details, now, lambda problem: _tell(told, reply, problem)))

        if isinstance(answer, Future):
            answer.add_done_callback(lambda done: settle(_reply(done)))
        else:
            settle(answer)
        return told

    def setup(self) -> None:
        """Learn from the trail what judged last, so that a threshold that moved while nobody ran is noticed, too."""
        if not self._trail.path.exists():
            return
        try:
            for entry in read_trail(self._trail.path).entries:
                self._learn(entry)
        except AuditError as error:
            _log.error("the audit trail does not hold: %s", error)

    def step(self, stopping: threading.Event) -> bool:
        """Write what waits. False after the last."""
        try:
            note = self._notes.get(timeout=_PATIENCE_S)
        except queue.Empty:
            return True
        if note is None:
            return False
        note.written(self._write(note))
        return True

    def teardown(self) -> None:
        """Nothing: the file is open only while it is written."""

    def _write(self, note: _Note) -> str:
        """Write an entry, and one for each threshold that moved by it. Returns what is wrong, if anything."""
        if self._is_repeated(note):
            return ""
        try:
            cameras = {camera: msgspec.to_builtins(each) for camera, each in note.in_force.items()}
            _log_entry(note, self._trail.append(note.what, note.who, note.key, {**note.details, "cameras": cameras}))
            for moved in self._moved(note.in_force):
                _log_entry(note, self._trail.append("threshold", note.who, note.key, moved))
            return ""
        except AuditError as error:
            self.failures += 1
            _log.error("NOT AUDITED, %s: %s by %s (key %s): %s", error, note.what, note.who, note.key, note.details)
            return str(error)

    def _is_repeated(self, note: _Note) -> bool:
        # A PLC asks for its recipe again every two seconds, for as long as it is refused.
        same = self._refused is not None and _same(note, self._refused)
        self._refused = note if "refused" in note.details else None
        return same

    def _moved(self, now: Mapping[str, InForce]) -> Iterator[dict[str, Any]]:
        for camera, after in now.items():
            before = self._known.get((camera, after.recipe))
            self._known[camera, after.recipe] = after
            if before is not None and before != after:
                thresholds = {"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(after)}
                yield {"camera": camera, "recipe": after.recipe, **thresholds}

    def _learn(self, entry: Entry) -> None:
        for camera, each in entry.details.get("cameras", {}).items():
            known = msgspec.convert(each, InForce)
            self._known[camera, known.recipe] = known


def here() -> str:
    """Who runs this process, `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user that no list has
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _log_entry(note: _Note, head: Head) -> None:
    _log.info("audit entry %d, %s by %s: its sha256 is %s", head.number, note.what, note.who, head.sha256)


def _same(one: _Note, other: _Note) -> bool:
    return (one.what, one.who, one.key, one.details) == (other.what, other.who, other.key, other.details)


def _asked(request: Request) -> dict[str, Any]:
    fields = msgspec.to_builtins(request)
    return {name: value for name, value in fields.items() if name not in _NOT_OF_INTEREST and value is not None}


def _outcome(reply: Reply) -> dict[str, Any]:
    if isinstance(reply, Refused):
        return {"refused": reply.reason}
    return {"done": reply.message} if isinstance(reply, Done) else {}


def _reply(done: Future[Reply]) -> Reply:
    error = done.exception()
    return done.result() if error is None else Refused(reason=str(error) or type(error).__name__)


def _tell(told: Future[Reply], reply: Reply, problem: str) -> None:
    if problem and isinstance(reply, Done):
        reply = msgspec.structs.replace(reply, message=f"{reply.message}; NOT AUDITED: {problem}")
    told.set_result(reply)
