"""Replacing a whole directory at once: whoever looks sees the old one or the new one, also after a power cut."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

# What a kernel, a C library or a file system answers that cannot exchange two names.
_NO_EXCHANGE = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty directory beside `path` that takes its place, durably, when the block ends without an error.

    After an error the new directory is removed and `path` is as it was. `path` must be resolved; its parent is
    created. Writers of one parent wait for each other. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        _restore(path)
        _remove_stale(path)
        # Not tempfile.mkdtemp: its mode 0700 would hide the bundle from the daemon's user.
        fresh = path.with_name(f"{_stale_prefix(path)}{secrets.token_hex(6)}")
        fresh.mkdir()
        try:
            yield fresh
            _sync_tree(fresh)
            _swap(fresh, path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def recover(path: Path) -> None:
    """Put back the directory that a killed writer had moved aside. Raises OSError."""
    if not path.exists() and _previous(path).exists():
        with locked(path.parent):
            _restore(path)


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the folder's advisory lock, which dies with its process; `shared` is for readers.

    File systems without locks on directories (some NFS) go without: there a lost race ends in a BundleError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
        yield
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes | memoryview, mode: int = 0o666) -> None:
    """Write a new file and wait until it is on the disk. `mode`, less the umask, is its from the start.

    Raises OSError.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(folder: Path) -> None:
    """Wait until the names in a folder are on the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stale_prefix(path: Path) -> str:
    return f".{path.name}.new-"


def _previous(path: Path) -> Path:
    return path.with_name(f".{path.name}.previous")


def _restore(path: Path) -> None:
    if not path.exists() and _previous(path).exists():
        _previous(path).rename(path)


def _remove_stale(path: Path) -> None:
    for sibling in path.parent.iterdir():
        if sibling.name.startswith(_stale_prefix(path)) or sibling == _previous(path):
            shutil.rmtree(sibling, ignore_errors=True)


def _swap(fresh: Path, path: Path) -> None:
    if not path.exists():
        fresh.rename(path)
    elif not _exchange(fresh, path):
        # A kill between the two renames leaves only the previous one, which `recover` puts back.
        path.rename(_previous(path))
        try:
            fresh.rename(path)
        finally:
            _restore(path)
        shutil.rmtree(_previous(path), ignore_errors=True)
    sync_directory(path.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Let two directories trade names in one step; False where the kernel or the file system has no such call."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _sync_tree(folder: Path) -> None:
    for parent, _, _ in os.walk(folder):
        sync_directory(Path(parent))
