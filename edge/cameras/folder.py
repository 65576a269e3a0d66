"""A watched folder: another program writes photographs, each one is a part.

A file counts when its writer has closed it or moved it in, not when it appears: a half-written file would be read as
a broken part. Each version of a file is taken once; a name that is written anew is a new part.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter
from edge.cameras.inotify import Inotify, InotifyUnavailableError, OverflowedError, reports_all_writes
from engines.errors import CameraError, DataError
from engines.images import SUFFIXES, read_image

_log = logging.getLogger(__name__)
_LONGEST_POLL_S = 0.5


@dataclass(frozen=True)
class _Version:
    """What tells one content of a file from the next, without reading it."""

    inode: int
    modified_ns: int
    size: int


class Folder(Camera):
    """Image files of one folder (not of those below it), those already there first, by name."""

    capabilities = Capabilities(free_running=False)

    def __init__(self, path: Path, watch: str = "auto", settle_s: float = 1.0) -> None:
        self.name = f"folder {path}"
        self._path = path
        self._watch = watch
        self._settle_s = settle_s
        self._shutter = Shutter()
        self._inotify: Inotify | None = None
        self._listed_at = 0.0
        self._ready: deque[str] = deque()
        self._unsettled: dict[str, tuple[_Version, float]] = {}
        # As many entries as the folder has files: a name that goes is forgotten.
        self._taken: dict[str, _Version] = {}

    def open(self) -> None:
        """Begin to watch, then list what is there, so that no file can come in between."""
        if not self._path.is_dir():
            raise CameraError(f"expected a folder of images at {self._path}, found none")
        self._inotify = self._watcher()
        self._list(at_start=True)

    def read(self, timeout_s: float) -> Frame | None:
        """Read the next file; one that cannot be read is a frame with a `fault`, under its name."""
        deadline = time.monotonic() + timeout_s
        while True:
            while self._ready:
                frame = self._take(self._ready.popleft())
                if frame is not None:
                    return frame
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            self._look(remaining)

    def close(self) -> None:
        """End the watch. What was taken is remembered, so that opening again repeats nothing."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _watcher(self) -> Inotify | None:
        if self._watch == "poll":
            return None
        reliable, kind = reports_all_writes(self._path)
        if self._watch == "auto" and not reliable:
            _log.info("%s is on %s, which does not report writes: polling it", self._path, kind)
            return None
        try:
            return Inotify(self._path)
        except InotifyUnavailableError as error:
            if self._watch == "inotify":
                raise CameraError(f'cannot watch {self._path}: {error}; set watch = "poll"') from None
            _log.warning("no inotify (%s): polling %s", error, self._path)
            return None

    def _look(self, timeout_s: float) -> None:
        nap = min(timeout_s, _LONGEST_POLL_S, self._settle_s / 2)
        if self._inotify is None:
            time.sleep(nap)
            self._list_when_due()
        else:
            self._hear(self._inotify, nap if self._unsettled else timeout_s)
        self._settle()

    def _hear(self, inotify: Inotify, timeout_s: float) -> None:
        try:
            changes = inotify.wait(timeout_s)
        except OverflowedError:
            _log.warning("%s: more new files than the kernel could report; listing the folder", self._path)
            self._list(at_start=True)
            return
        for name, completed in changes:
            self._unsettled.pop(name, None)
            if not completed:
                self._taken.pop(name, None)
            elif _counts(name):
                self._ready.append(name)

    def _list_when_due(self) -> None:
        if time.monotonic() - self._listed_at >= min(_LONGEST_POLL_S, self._settle_s / 2):
            self._list(at_start=False)

    def _list(self, at_start: bool) -> None:
        found = self._versions()
        self._listed_at = now = time.monotonic()
        wall_ns = time.time_ns()
        waiting = set(self._ready)
        for name in sorted(found.keys() - waiting):
            version = found[name]
            if self._taken.get(name) == version:
                continue
            if at_start and wall_ns - version.modified_ns >= self._settle_s * 1e9:
                self._ready.append(name)
            elif self._unsettled.get(name, (None, 0.0))[0] != version:
                self._unsettled[name] = (version, now)
        for name in self._taken.keys() - found.keys():
            del self._taken[name]

    def _settle(self) -> None:
        now = time.monotonic()
        for name, (version, since) in list(self._unsettled.items()):
            current = _version(self._path / name)
            if current is None:
                del self._unsettled[name]
            elif current != version:
                self._unsettled[name] = (current, now)
            elif now - since >= self._settle_s:
                del self._unsettled[name]
                self._ready.append(name)

    def _versions(self) -> dict[str, _Version]:
        try:
            with os.scandir(self._path) as entries:
                names = [entry.name for entry in entries if _counts(entry.name)]
        except OSError as error:
            raise CameraError(f"the folder {self._path} cannot be listed: {error.strerror}") from None
        versions = ((name, _version(self._path / name)) for name in names)
        return {name: version for name, version in versions if version is not None}

    def _take(self, name: str) -> Frame | None:
        path = self._path / name
        self._shutter.press()
        version = _version(path)
        if version is None:
            if path.exists():  # a directory or a pipe, whatever its name says; opening a pipe would hang
                return None
            return self._shutter.frame(None, name, "the file vanished before it could be read")
        if self._taken.get(name) == version:
            return None
        self._taken[name] = version
        try:
            return self._shutter.frame(read_image(path), name)
        except DataError as error:
            return self._shutter.frame(None, name, str(error).removeprefix(f"{self._path}{os.sep}"))
        except Exception as error:  # whatever a decoder does to a file, the part is there and needs its verdict
            return self._shutter.frame(None, name, f"{type(error).__name__} while reading: {error}")


def _counts(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _version(path: Path) -> _Version | None:
    """Version of a regular file; None for anything else, or nothing."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return _Version(status.st_ino, status.st_mtime_ns, status.st_size)
