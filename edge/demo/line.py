"""A production line in small: fresh parts arrive in a folder, the daemon judges them, a subscriber hears it.

Daemon and subscriber are processes of their own, as they would be at a station.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from edge.demo.child import Child
from edge.verdict import Heartbeat, State, Verdict, decode

STATION = "demo"
_READY_S = 60.0
_VERDICTS_S = 30.0
_DRAIN_S = 30.0
_LOOK_S = 0.2


def run_line(bundle: Path, out: Path, parts: Mapping[str, bytes], takt_s: float) -> dict[str, Verdict]:
    """Send `parts`, file name to PNG bytes, down the line, one every `takt_s` seconds; return the verdict on each.

    Writes `station.toml`, `daemon.log`, `subscriber.log` and `verdicts.jsonl` to `out`, the parts to `out/line`.
    Raises DemoError with the last lines of the process that failed or kept silent.
    """
    folder = out / "line"
    folder.mkdir()
    address = f"tcp://127.0.0.1:{_free_port()}"
    station = out / "station.toml"
    station.write_text(station_file(bundle.resolve(), folder.resolve(), address), encoding="utf-8")
    listen = ["watch", "--connect", address, "--json", "--heartbeats", "--count", str(len(parts))]
    with (
        Child("daemon", ["run", "--config", str(station)], out / "daemon.log") as daemon,
        Child("subscriber", listen, out / "subscriber.log", piped=True) as subscriber,
    ):
        ear = _Ear(daemon, subscriber, out / "verdicts.jsonl")
        ear.listen(_READY_S, lambda: ear.running)
        for index, (name, data) in enumerate(parts.items()):
            _arrive(folder / name, data, slowly=index % 2 == 0)
            time.sleep(takt_s)
        ear.listen(_VERDICTS_S, lambda: parts.keys() <= ear.verdicts.keys())
        if code := subscriber.wait(_DRAIN_S):
            raise subscriber.failure(f"ended with exit code {code}")
        daemon.terminate()
        if code := daemon.wait(_DRAIN_S):
            raise daemon.failure(f"ended with exit code {code} after SIGTERM, expected 0")
    return {name: ear.verdicts[name] for name in parts}


def station_file(bundle: Path, folder: Path, address: str) -> str:
    """The station file of a watched folder, in TOML."""
    # JSON strings are TOML strings: paths may hold quotes and backslashes.
    return (
        f'station = "{STATION}"\n'
        f"[recipes.part]\nbundle = {json.dumps(str(bundle))}\n\n"
        f'[cameras.line]\nkind = "folder"\npath = {json.dumps(str(folder))}\n\n'
        f"[publish]\nbind = {json.dumps(address)}\nwait_for_subscriber_s = 20.0\n"
    )


class _Ear:
    """What the subscriber prints, read as it comes and kept in a file: verdicts by part, and whether it is running."""

    def __init__(self, daemon: Child, subscriber: Child, record: Path) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self.running = False
        self._daemon = daemon
        self._subscriber = subscriber
        self._record = record
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        # Ends with the subscriber, whose end closes the pipe.
        threading.Thread(target=self._read, name="subscriber's output", daemon=True).start()

    def listen(self, limit_s: float, enough: Callable[[], bool]) -> None:
        """Take in messages until `enough`. Raises DemoError when a process ends or `limit_s` passes before that."""
        deadline = time.monotonic() + limit_s
        while not enough():
            try:
                self._take(self._lines.get(timeout=_LOOK_S))
            except queue.Empty:
                self._check_processes()
            if time.monotonic() > deadline:
                heard = f"{len(self.verdicts)} verdicts had come" if self.running else "it was not running"
                raise self._daemon.failure(f"kept the demo waiting for {limit_s:g} s; {heard}")

    def _check_processes(self) -> None:
        if self._daemon.ended is not None:
            raise self._daemon.failure(f"ended with exit code {self._daemon.ended} while it was needed")
        # The subscriber ends by itself, with 0, after the last verdict.
        if self._subscriber.ended:
            raise self._subscriber.failure(f"ended with exit code {self._subscriber.ended}")

    def _take(self, line: bytes) -> None:
        message = decode(line)
        if isinstance(message, Heartbeat):
            self.running = message.state is State.RUNNING
        elif message.part_id is not None:
            self.verdicts[message.part_id] = message

    def _read(self) -> None:
        with self._record.open("wb") as record, self._subscriber.output as output:
            for line in output:
                record.write(line)
                self._lines.put(line)


def _arrive(path: Path, data: bytes, slowly: bool) -> None:
    """Let a file arrive as cameras and copy programs write it: in pieces under its own name, or renamed when whole."""
    target = path if slowly else path.with_name(f".{path.name}.part")
    third = len(data) // 3 + 1
    with target.open("wb") as file:
        for start in range(0, len(data), third):
            file.write(data[start : start + third])
            file.flush()
            time.sleep(0.02 if slowly else 0)
    if not slowly:
        target.rename(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
