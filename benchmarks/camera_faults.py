"""Camera faults: what the operator sees of each, how soon, how soon it is over, and whether a part was lost.

A real daemon watches a real peer: files, an RTSP server, Aravis's GigE Vision simulator behind a virtual cable. Each
fault is done to the peer and taken back; nobody touches the daemon. The times are those of its messages:

notice   from the fault to the first message that tells of it
recover  from its end to the first part that is judged again
lost     parts without a verdict, which has to be 0; those that could not be judged are NotDecidable

    python benchmarks/camera_faults.py --markdown
    python benchmarks/camera_faults.py --source rtsp

The bundle has random weights: what is judged does not matter here, only that it is.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.cable import Cable
from benchmarks.known_parts import random_subject
from benchmarks.machine import describe_machine
from benchmarks.ports import free_port
from benchmarks.results import format_table
from benchmarks.service_process import Service
from benchmarks.station_watch import Said, StationWatch, decided
from benchmarks.trigger_pulse import TriggerPulse
from edge.demo.child import command_line
from edge.verdict import Evaluation, Heartbeat, State, Verdict
from edge.worker import Worker
from engines.errors import InspectError

_SIMULATOR = "arv-fake-gv-camera-0.8"
_CLOCK_SHIM = Path(__file__).with_name("clock_shim.c")
_START_LIMIT_S = 120.0
_LIMIT_S = 40.0
_HOLD_S = 2.0
_HEADER = ("source", "fault", "the operator sees", "notice s", "recover s", "NotDecidable", "lost")


class FaultsError(InspectError):
    """A station that does not start, or a part without a verdict."""

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """What is done to the peer, and how it is taken back. `unseen`: nothing has to be noticed."""

    what: str
    inject: Callable[[], object]
    heal: Callable[[], object]
    hold_s: float = _HOLD_S
    unseen: bool = False


@dataclass(frozen=True)
class Source:
    """A camera table of the station file and the faults of its peer. `prefix` comes before the daemon's command."""

    name: str
    camera: str
    faults: tuple[Fault, ...]
    prefix: tuple[str, ...] = ()
    triggered: bool = False


@dataclass(frozen=True)
class Finding:
    """One row of the table; times in seconds, None where nothing was noticed."""

    source: str
    fault: str
    seen: str
    notice_s: float | None
    recover_s: float | None
    undecidable: int
    lost: int

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        times = ("-" if value is None else f"{value:.1f}" for value in (self.notice_s, self.recover_s))
        return (self.source, self.fault, self.seen, *times, str(self.undecidable), str(self.lost))


def folder_source(stack: ExitStack, folder: Path, picture: Path) -> Source:
    """Files that are empty, cut short, written slowly, or find the disk full; and a folder that goes away."""
    disk = folder / "disk"
    disk.mkdir()
    small = _possible(stack, small_disk(disk))
    incoming = disk / "incoming"
    incoming.mkdir()
    data, numbers = picture.read_bytes(), iter(range(1_000_000))

    def write(content: bytes) -> None:
        (incoming / f"{next(numbers):06d}.png").write_bytes(content)

    def write_slowly() -> None:
        with (incoming / f"{next(numbers):06d}.png").open("wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            time.sleep(1.0)
            file.write(data[len(data) // 2 :])

    good = partial(write, data)
    away = disk / "away"
    faults = [
        Fault("0-byte file", partial(write, b""), good, 0.0),
        Fault("file cut in half", partial(write, data[: len(data) // 2]), good, 0.0),
        Fault("file written for a second", write_slowly, good, 0.0, unseen=True),
        Fault("folder goes away for 2 s", lambda: incoming.rename(away), lambda: (away.rename(incoming), good())),
    ]
    if small:
        fill, empty = partial(_fill_and_write, disk, good), partial(_empty, disk, good)
        faults.append(Fault("writer's disk full", fill, empty, 0.0))
    good()
    return Source("folder", f'kind = "folder"\npath = "{incoming}"\nsettle_s = 0.2', tuple(faults))


def _possible(stack: ExitStack, context: AbstractContextManager[object]) -> bool:
    try:
        stack.enter_context(context)
    except (subprocess.CalledProcessError, FileNotFoundError):  # neither root, nor allowed to mount
        return False
    return True


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """A disk of one MiB at `path`. Needs root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)], check=True, stderr=subprocess.PIPE)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _fill_and_write(disk: Path, write: Callable[[], None]) -> None:
    for action in (lambda: (disk / "filler").write_bytes(bytes(2**20)), write):
        try:
            action()
        except OSError:  # no space left, which is the point
            continue


def _empty(disk: Path, write: Callable[[], None]) -> None:
    (disk / "filler").unlink()
    write()


def rtsp_source(stack: ExitStack, folder: Path, picture: Path) -> Source:
    """A server that hangs, dies, wants another password, freezes its picture and changes its size."""
    port, password = free_port(), folder / "password"
    password.write_text("right\n")
    command = [sys.executable, str(Path(__file__).with_name("rtsp_server.py")), str(port)]
    server = stack.enter_context(Service("rtsp", command, folder / "rtsp.log"))
    strict = Service("rtsp", [*command, "line", "right"], folder / "rtsp.log")

    def demand_password() -> None:
        password.write_text("wrong\n")
        server.stop()
        stack.enter_context(strict)

    camera = (
        f'kind = "rtsp"\nurl = "rtsp://127.0.0.1:{port}/line"\nuser = "line"\npassword_file = "{password}"\n'
        "frame_timeout_s = 1.0\nfrozen_frames = 25\nretry_max_s = 1.0"
    )
    send = server.send
    faults = (
        Fault("server hangs (SIGSTOP) for 3 s", lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT), 3.0),
        Fault("server dies (SIGKILL), back after 2 s", server.stop, server.start),
        Fault("picture freezes for 3 s", lambda: send(signal.SIGUSR2), lambda: send(signal.SIGUSR2), 3.0),
        Fault("another size in mid-stream", lambda: send(signal.SIGUSR1), lambda: None, 1.0, unseen=True),
        Fault("wrong password for 3 s", demand_password, lambda: password.write_text("right\n"), 3.0),
    )
    return Source("rtsp", camera, faults)


def genicam_source(stack: ExitStack, folder: Path, picture: Path) -> Source:
    """A triggered camera that hangs, dies, or whose cable is pulled."""
    cable = stack.enter_context(Cable()) if Cable.possible() else None
    address = cable.there if cable else "127.0.0.1"
    command = [*(cable.prefix if cable else ()), _SIMULATOR, "-i", address]
    simulator = stack.enter_context(Service("camera", command, folder / "camera.log"))
    camera = f'kind = "genicam"\ndevice = "{address}"\ntrigger = "software"\nframe_timeout_s = 1.0\nretry_max_s = 1.0'
    send = simulator.send
    faults = [
        Fault("camera hangs (SIGSTOP) for 3 s", lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT), 3.0),
        Fault("camera dies (SIGKILL), back after 2 s", simulator.stop, simulator.start),
    ]
    if cable:
        faults.append(Fault("cable pulled for 1 s", cable.pull, cable.plug, 1.0))
    return Source("genicam, triggered", camera, tuple(faults), triggered=True)


def lossy_source(stack: ExitStack, folder: Path, picture: Path) -> Source:
    """A network that loses packets all the time."""
    stack.enter_context(Service("camera", [_SIMULATOR, "-i", "127.0.0.1", "-r", "3"], folder / "camera.log"))
    faults = (Fault("3 of 1000 packets lost", lambda: None, lambda: None),)
    return Source("genicam, free", 'kind = "genicam"\ndevice = "127.0.0.1"', faults)


def clock_source(stack: ExitStack, folder: Path, picture: Path) -> Source:
    """A machine whose clock is set back by an hour."""
    shim, offset = folder / "clock_shim.so", folder / "offset"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(_CLOCK_SHIM)], check=True)
    offset.write_text("0\n")
    prefix = ("env", f"LD_PRELOAD={shim}", f"CLOCK_OFFSET_FILE={offset}")
    step, back = partial(offset.write_text, "-3600\n"), partial(offset.write_text, "0\n")
    fault = Fault("clock set back an hour", step, back, unseen=True)
    return Source("synthetic", 'kind = "synthetic"\nwidth = 256\nheight = 256', (fault,), prefix)


def log_source(stack: ExitStack, folder: Path, picture: Path) -> Source:
    """A daemon that cannot write its log."""
    fault = Fault("log's disk full", lambda: None, lambda: None, unseen=True)
    camera = 'kind = "synthetic"\nwidth = 256\nheight = 256\nrate = 20.0'
    return Source("synthetic", camera, (fault,), ("sh", "-c", 'exec "$@" 2>/dev/full', "sh"))


SOURCES: dict[str, Callable[[ExitStack, Path, Path], Source]] = {
    "folder": folder_source,
    "rtsp": rtsp_source,
    "genicam": genicam_source,
    "lossy": lossy_source,
    "clock": clock_source,
    "log": log_source,
}


def missing(name: str) -> str:
    """Why the faults of a source cannot be done here; empty where they can."""
    if name in ("genicam", "lossy") and shutil.which(_SIMULATOR) is None:
        return f"{_SIMULATOR} is not installed: make system-deps"
    if name == "clock" and shutil.which("gcc") is None:
        return "gcc is not installed: make system-deps"
    return ""


class Station:
    """A daemon on one source, and what it said. Use it as a context manager."""

    def __init__(self, folder: Path, bundle: Path, source: Source) -> None:
        self.source = source
        address = f"ipc://{folder}/verdicts"
        self.watch = StationWatch(address)
        self._folder = folder
        self._listening = Worker("watch", self.watch)
        self._pulse = Worker("pulse", TriggerPulse(f"{address}-control", "top"))
        station = folder / "station.toml"
        station.write_text(_station_file(bundle, source, address))
        command = (*source.prefix, *command_line(["run", "--config", str(station)]))
        self._daemon = Service("daemon", command, folder / "daemon.log")
        self._stack = ExitStack()

    def __enter__(self) -> Station:
        self._stack.enter_context(self._daemon)
        self._listening.start()
        self._stack.callback(self._listening.stop, 5.0)
        if self.source.triggered:
            self._pulse.start()
            self._stack.callback(self._pulse.stop, 5.0)
        if self.watch.await_first(0.0, decided, _START_LIMIT_S) is None:
            self._stack.close()
            log = (self._folder / "daemon.log").read_text()[-2000:]
            raise FaultsError(f"{self.source.name}: no part was judged within {_START_LIMIT_S:g} s\n{log}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, fault: Fault) -> Finding:
        """Do one fault and take it back."""
        lost, began = self.watch.lost, time.monotonic()
        fault.inject()
        told = self.watch.await_first(began, _tells, fault.hold_s + 1 if fault.unseen else _LIMIT_S)
        time.sleep(max(began + fault.hold_s - time.monotonic(), 0.0))
        healed = time.monotonic()
        fault.heal()
        again = self.watch.await_first(healed, lambda said: decided(said) and _captured(said) >= healed, _LIMIT_S)
        if again is None:
            raise FaultsError(f"{self.source.name}: no part was judged within {_LIMIT_S:g} s after: {fault.what}")
        verdicts = self.watch.verdicts(began)
        undecidable = sum(verdict.evaluation is Evaluation.NOT_DECIDABLE for verdict in verdicts)
        notice_s = None if told is None else told.at - began
        seen = "nothing: parts are judged" if told is None else self._words(told.message)
        times = (notice_s, None if told is None else again.at - healed)
        return Finding(self.source.name, fault.what, seen, *times, undecidable, self.watch.lost - lost)

    def unaccounted(self) -> int:
        """Stop the daemon in order, and count the frames and triggers that have neither verdict nor cause."""
        if self.source.triggered:
            self._pulse.stop(5.0)
        self._daemon.send(signal.SIGTERM)
        end = self.watch.await_first(
            0.0, lambda said: isinstance(said.message, Heartbeat) and said.message.state is State.STOPPED, _LIMIT_S
        )
        if end is None or not isinstance(end.message, Heartbeat):
            raise FaultsError(f"{self.source.name}: the daemon did not stop within {_LIMIT_S:g} s")
        counters = end.message.counters
        judged = counters.ok + counters.not_ok + counters.not_decidable
        return abs(counters.frames - judged - sum(counters.dropped.values()))

    def _words(self, message: Verdict | Heartbeat) -> str:
        word = "NotDecidable" if isinstance(message, Verdict) else message.state.value
        return f"{word}: {_plain(message.reason, self._folder)}"


def _tells(said: Said) -> bool:
    if isinstance(said.message, Verdict):
        return not decided(said)
    return said.message.state is State.DEGRADED


def _captured(said: Said) -> float:
    return said.message.captured_ns / 1e9 if isinstance(said.message, Verdict) else 0.0


def _plain(reason: str, folder: Path) -> str:
    """A reason without what differs from run to run."""
    text = reason.replace(f"{folder}/", "").replace("|", "/")
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    return re.sub(r"(?<=frame of trigger )\d+|(?<=picture )\d+|\d{6}(?=\.png)", "N", text)


def _station_file(bundle: Path, source: Source, address: str) -> str:
    return (
        f'station = "faults"\n[recipes.part]\nbundle = "{bundle}"\n'
        f"[cameras.top]\n{source.camera}\nretry_s = 0.2\n[engine]\nin_flight = 1\n"
        f'[publish]\nbind = "{address}"\nheartbeat_s = 0.2\nwait_for_subscriber_s = 20\n'
        f'[control]\nbind = "{address}-control"\n'
    )


def run(folder: Path, bundle: Path, picture: Path, name: str) -> list[Finding]:
    """All faults of one source. Raises FaultsError where the daemon does not come back, or lost a part."""
    folder.mkdir()
    with ExitStack() as stack:
        source = SOURCES[name](stack, folder, picture)
        station: AbstractContextManager[Station] = Station(folder, bundle, source)
        with station as running:
            findings = [running.measure(fault) for fault in source.faults]
            unaccounted = running.unaccounted()
    if unaccounted:
        raise FaultsError(f"{source.name}: {unaccounted} frames or triggers have neither a verdict nor a cause")
    return findings


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Exit code 1 where a part was lost or the daemon did not come back."""
    options = _parser().parse_args(argv)
    findings: list[Finding] = []
    try:
        with tempfile.TemporaryDirectory(prefix="camera-faults-") as place:
            bundle, pictures = random_subject(Path(place))
            for name in options.source:
                if missing(name):
                    print(f"left out {name}: {missing(name)}", file=sys.stderr)
                    continue
                findings += run(Path(place) / name, bundle, pictures.good[0], name)
    except InspectError as error:
        print(f"camera_faults: {error}", file=sys.stderr)
        return error.exit_code
    print(format_table(_HEADER, [finding.cells() for finding in findings], options.markdown))
    machine = describe_machine()
    print(f"\n{machine['cpu']}, {machine['cores']} cores, load {machine['load']}")
    return 1 if any(finding.lost for finding in findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--source", nargs="+", choices=SOURCES, default=list(SOURCES), help="default: all")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/reliability.md has it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
