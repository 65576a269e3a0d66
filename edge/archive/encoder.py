"""Pictures are compressed and written by a process of their own at idle priority, to take little from verdicts.

A thread of the daemon cannot have that priority: put off while it holds Python's lock, it would hold up every worker
that judges. The process is given open files and opens none, so that of a daemon that was killed it finishes what has a
name already, and leaves nothing that the next start does not know.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

_END_S = 5.0
_LONGEST_MESSAGE = 4096


class _Order(msgspec.Struct, frozen=True):
    """Pixels of this shape, uint8, lie at the beginning of the shared memory."""

    shape: tuple[int, ...]


class _Done(msgspec.Struct, frozen=True):
    """How long the file has become in bytes, or with which errno it could not be written; 0, it cannot be encoded."""

    size: int = 0
    errno: int = 0


class Encoder:
    """Writes pictures as PNG. Its process starts with the first one. Use it as a context manager, in one thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._memory = -1
        self._shared: mmap.mmap | None = None

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, picture: NDArray[np.uint8], file: int) -> int:
        """Write a picture, BGR `(H, W, 3)` or grey `(H, W)`, to an open file, durably, and return the file's size.

        Raises OSError where it cannot be encoded or written, or where the process ends; the next call starts another.
        """
        try:
            link = self._socket or self._start()
            self._share(picture)
            socket.send_fds(link, [msgspec.json.encode(_Order(picture.shape))], [file])
            answer = link.recv(_LONGEST_MESSAGE)
        except OSError:
            self.close()
            raise
        if not answer:
            self.close()
            raise OSError("the process that writes pictures was killed; the next picture starts another one")
        done = msgspec.json.decode(answer, type=_Done)
        if done.errno:
            raise OSError(done.errno, os.strerror(done.errno))
        if not done.size:
            raise OSError(f"a picture of shape {picture.shape} cannot be encoded")
        return done.size

    def close(self) -> None:
        """End the process, if it runs, and give back the memory."""
        if self._socket is not None:
            self._socket.close()
            os.close(self._memory)
            self._shared = None
        if self._process is not None:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = self._socket = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._memory, self._socket = os.memfd_create("pictures"), ours
        with theirs:
            given = [theirs.fileno(), self._memory]
            # From where this package lies: of a working directory that holds another `edge`, that would be taken.
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, *map(str, given)],
                stdin=subprocess.DEVNULL,
                pass_fds=given,
                cwd=Path(__file__).parents[2],
            )
        return ours

    def _share(self, picture: NDArray[np.uint8]) -> None:
        # Not through the socket: that is many calls, after each of which Python's lock has to be taken again.
        if self._shared is None or len(self._shared) < picture.nbytes:
            os.ftruncate(self._memory, max(picture.nbytes, 1))
            self._shared = mmap.mmap(self._memory, 0)
        np.copyto(np.frombuffer(self._shared, np.uint8, picture.size).reshape(picture.shape), picture)


def serve(link: socket.socket, memory: int) -> None:
    """Write what is ordered, until the other end is closed. At the lowest priority that there is."""
    # A signal is meant for the daemon, where pictures may wait that are still to be written.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    cv2.setNumThreads(1)
    while True:
        message, files, _, _ = socket.recv_fds(link, _LONGEST_MESSAGE, 1)
        if not message:
            return
        link.send(msgspec.json.encode(_write(msgspec.json.decode(message, type=_Order), memory, files[0])))


def _write(order: _Order, memory: int, file: int) -> _Done:
    shared = np.frombuffer(mmap.mmap(memory, 0), np.uint8)
    picture = shared[: int(np.prod(order.shape))].reshape(order.shape)
    try:
        with open(file, "wb") as target:
            # OpenCV's default is quicker than the level that it calls fastest, which is filtered in another way.
            data = cv2.imencode(".png", picture)[1].data
            target.write(data)
            target.flush()
            os.fsync(file)
            return _Done(size=len(data))
    except cv2.error:
        return _Done()
    except OSError as error:
        return _Done(errno=error.errno or 0)


if __name__ == "__main__":
    with suppress(BrokenPipeError, ConnectionResetError):
        serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
