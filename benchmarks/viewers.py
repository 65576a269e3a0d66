"""People who watch: the live page's process beside the daemon, and readers that take what a browser takes.

Each reader holds the stream of events and asks for one live picture after the other. They run in a process of their
own, at idle priority once each has a picture, for browsers run on other machines; they draw nothing, for a browser's
drawing costs the station nothing.

    python -m benchmarks.viewers http://127.0.0.1:8080 CAMERA 5
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from benchmarks.machine import REPOSITORY
from edge.demo.child import command_line
from engines.errors import InspectError

_START_S = 60.0
_LOOK_S = 0.1
# Whatever the priority of the benchmark is.
_ORDINARY = ("chrt", "--other", "0")


class ViewersError(InspectError):
    """A page that is not shown, or readers that read nothing."""

    exit_code = 1


class Viewers:
    """So many readers of the page of the station file in `folder`. Leaving the `with` block ends them in any case."""

    def __init__(self, folder: Path, station_file: str, camera: str, count: int) -> None:
        self._folder = folder
        self._station_file = station_file
        self._camera = camera
        self._count = count
        self._open = ExitStack()

    def __enter__(self) -> Viewers:
        with ExitStack() as stack:
            url = stack.enter_context(live_page(self._folder / self._station_file))
            command = [*_ORDINARY, sys.executable, "-m", "benchmarks.viewers", url, self._camera, str(self._count)]
            self._reading = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY))
            stack.callback(self._reading.kill)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def pictures(self) -> int:
        """End the readers, and return how many pictures they took. Raises ViewersError where it was none."""
        self._reading.terminate()
        taken = int(json.loads(self._reading.communicate(timeout=_START_S)[0])["pictures"])
        if not taken:
            raise ViewersError("the viewers took no picture: they watched nothing, and what they cost is not measured")
        return taken


@contextmanager
def live_page(station_file: Path) -> Iterator[str]:
    """The page of a station in a process of its own, and its address. Raises ViewersError where it is not shown."""
    log = station_file.with_name("web.log")
    with log.open("wb") as sink:
        command = [*_ORDINARY, *command_line(["web", "--config", str(station_file)])]
        process = subprocess.Popen(command, stderr=sink, cwd=REPOSITORY)
    try:
        yield _await_page(log, process)
    finally:
        process.kill()
        process.wait()


def _await_page(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"is shown on (\S+)", log.read_text()):
            return found[1]
        time.sleep(_LOOK_S)
    raise ViewersError(f"the page is not shown: {log.read_text().splitlines()[-1:]}")


class Reader:
    """What one browser takes: events, and pictures one after the other. `pictures` counts them."""

    def __init__(self, url: str, camera: str) -> None:
        self.pictures = 0
        self._address = urlsplit(url).netloc
        self._camera = camera
        for take in (self._take_events, self._take_pictures):
            threading.Thread(target=take, daemon=True).start()

    def _take_events(self) -> None:
        connection = http.client.HTTPConnection(self._address)
        connection.request("GET", "/events")
        response = connection.getresponse()
        while response.read1(1 << 16):
            pass

    def _take_pictures(self) -> None:
        connection = http.client.HTTPConnection(self._address)
        number = 0
        while True:
            connection.request("GET", f"/live/{self._camera}?after={number}")
            body = (response := connection.getresponse()).read()
            if response.status == http.client.OK:
                number = json.loads(body[4 : 4 + int.from_bytes(body[:4], "big")])["number"]
                self.pictures += 1


def _become_idle() -> None:
    """All threads of this process from now on, with whatever CPU time nobody else wants."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def main(url: str, camera: str, count: str) -> None:
    """Read until SIGTERM, then print what was taken."""
    from edge.stop import StopRequest

    with StopRequest() as stop:
        readers = [Reader(url, camera) for _ in range(int(count))]
        while not stop.made and not all(reader.pictures for reader in readers):
            time.sleep(_LOOK_S)
        _become_idle()
        while not stop.made:
            time.sleep(_LOOK_S)
    print(json.dumps({"pictures": sum(reader.pictures for reader in readers)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
