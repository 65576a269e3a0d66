"""Linux's inotify on one folder: tells when a file was closed by its writer or moved in.

Three calls of the C library. The libraries for it were passed over: they queue events in threads of their own and
keep the overflow event to themselves, without which a burst of files can be lost unnoticed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from pathlib import Path

from engines.errors import CameraError

_CLOSE_WRITE = 0x00000008
_MOVED_FROM = 0x00000040
_MOVED_TO = 0x00000080
_DELETE = 0x00000200
_DELETE_SELF = 0x00000400
_MOVE_SELF = 0x00000800
_UNMOUNT = 0x00002000
_OVERFLOW = 0x00004000
_IGNORED = 0x00008000
_ONLY_FOLDER = 0x01000000
_WATCHED = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLY_FOLDER
_HEADER = struct.Struct("iIII")
_BUFFER = 64 * 1024


class OverflowedError(Exception):
    """The kernel's queue was full and events are missing: the folder has to be listed again."""


class InotifyUnavailableError(Exception):
    """This kernel or user has no inotify to give; `args[0]` says why."""


class Inotify:
    """A watch on one folder, from the moment it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise InotifyUnavailableError(os.strerror(ctypes.get_errno()))
        if libc.inotify_add_watch(self._descriptor, os.fsencode(folder), _WATCHED) < 0:
            number = ctypes.get_errno()
            self.close()
            if number == errno.ENOSPC:
                raise InotifyUnavailableError("the user's limit of inotify watches is reached")
            raise CameraError(f"cannot watch the folder {folder}: {os.strerror(number)}")
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def wait(self, timeout_s: float) -> list[tuple[str, bool]]:
        """Names since the last call, in order, each with whether it was completed or has gone; [] after `timeout_s`.

        Raises OverflowedError, and CameraError where the folder itself has gone.
        """
        changes = []
        for mask, name in self._events() if self._poll.poll(timeout_s * 1000) else []:
            if mask & _OVERFLOW:
                raise OverflowedError
            if mask & (_DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED):
                raise CameraError(f"the folder {self._folder} was removed, renamed or unmounted")
            changes.append((name, bool(mask & (_CLOSE_WRITE | _MOVED_TO))))
        return changes

    def close(self) -> None:
        """End the watch. Calling it twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _events(self) -> list[tuple[int, str]]:
        data = os.read(self._descriptor, _BUFFER)
        events, offset = [], 0
        while offset < len(data):
            _, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            events.append((mask, os.fsdecode(data[offset : offset + length].rstrip(b"\0"))))
            offset += length
        return events


# What another machine writes on these is not reported by this kernel.
_REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "lustre", "vboxsf", "virtiofs", "glusterfs"}
)


def reports_all_writes(folder: Path) -> tuple[bool, str]:
    """Whether inotify sees everything written to `folder`, and the kind of its file system."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    kind = file_system_of(folder.resolve(), mounts)
    return kind not in _REMOTE and not kind.startswith("fuse"), kind


def file_system_of(folder: Path, mounts: str) -> str:
    """Kind of the file system that an absolute `folder` lies on; `mounts` is in the form of /proc/self/mountinfo."""
    depth, kind = -1, "unknown"
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        mount = Path(before.split(" ")[4].replace("\\040", " "))
        # A later line is mounted over an earlier one at the same place, hence `>=`.
        if (mount == folder or mount in folder.parents) and len(mount.parts) >= depth:
            depth, kind = len(mount.parts), after.split(" ")[0]
    return kind
