"""Real peers of the cameras, in processes of their own, and what tests do with a camera."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.cameras.camera import Camera, Frame
from engines.errors import CameraError

PATIENCE_S = 30.0


def next_frame(camera: Camera, wanted: Callable[[Frame], bool] = lambda _: True) -> Frame:
    """Read until a wanted frame comes; fail the test where none does."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        frame = camera.read(0.1)
        if frame is not None and wanted(frame):
            return frame
    pytest.fail(f"no such frame within {PATIENCE_S:g} s")


def lose(camera: Camera) -> str:
    """Read until the camera is lost, close it, and return why."""
    with pytest.raises(CameraError) as lost:
        next_frame(camera, lambda _: False)
    camera.close()
    return str(lost.value)


def refused(camera: Camera) -> str:
    """Open the camera, which must give no frame, close it, and return why."""
    try:
        camera.open()
        next_frame(camera)
    except CameraError as error:
        return str(error)
    finally:
        camera.close()
    pytest.fail(f"{camera.name} was to be refused")


def bring_back(camera: Camera) -> Frame:
    """Open it again and again until it gives a picture."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            camera.open()
            return next_frame(camera, lambda frame: frame.image is not None)
        except CameraError:
            camera.close()
            time.sleep(0.05)
    pytest.fail(f"it was not back within {PATIENCE_S:g} s")


class Peer:
    """A program that a camera talks to. It may be frozen, resumed, killed and started again."""

    def __init__(self, command: list[str], ready: str | None) -> None:
        self._command = command
        self._ready = ready
        self.start()

    def start(self) -> None:
        """Start it, and return when it says that it is ready."""
        out = subprocess.PIPE if self._ready else subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdout=out, stderr=subprocess.DEVNULL)
        if self._process.stdout is not None:
            line = self._process.stdout.readline().decode().strip()
            assert line == self._ready, f"{self._command} said {line!r}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal. SIGSTOP has stopped every thread when this returns."""
        self._process.send_signal(number)
        while number is signal.SIGSTOP and not self._stopped():
            time.sleep(0.01)

    def _stopped(self) -> bool:
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)

    def kill(self) -> None:
        """Kill it, whatever state it is in, and wait for its end."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def footprint() -> tuple[int, int, float]:
    """Descriptors, threads and resident MiB of this process."""
    gc.collect()  # what an exception's traceback holds is freed late
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())  # also those that Python did not start
    return sum(1 for _ in Path("/proc/self/fd").iterdir()), threads, pages * os.sysconf("SC_PAGE_SIZE") / 2**20
