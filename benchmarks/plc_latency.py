"""From a verdict to the PLC, and from the planned moment to the coil; `bench_latency.py --plc` prints it.

The gateway is the real process, the PLC a program in C (libmodbus) that stamps each word and each change of its coil
with the monotonic clock of this machine. This process publishes the verdicts and moves the parts. All over loopback.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import zmq

from benchmarks.gateway_journal import Journal
from benchmarks.plc_program import PlcProgram, build, free_port
from benchmarks.results import Row, format_table
from edge.demo.child import command_line
from edge.verdict import Counters, Evaluation, Heartbeat, StageTimes, State, Verdict, encode
from engines.errors import InspectError

FULL, QUICK = 1000, 200
PULSE_S = 0.02

_STATION = "latency"
_TRAVEL_S, _MARGIN_S, _PITCH_S, _INFERENCE_S = 0.3, 0.05, 0.05, 0.02
_START_LIMIT_S = 60.0
_PRIORITY = 20
_WHEN = "2026-01-01T00:00:00.000+00:00"
_COLUMNS = ("p50", "p99", "max")


class PlcLatencyError(InspectError):
    """The gateway does not come up, or a part got no word."""

    exit_code = 1


@dataclass(frozen=True)
class Stamps:
    """What was measured, in milliseconds: from a verdict's sending to its word in the PLC; coil on after its planned
    moment, negative where it was early; the length of a pulse beyond what was set."""

    verdict: Sequence[float]
    pulse: Sequence[float]
    length: Sequence[float]


class Vision:
    """Publishes verdicts as the daemon does. Use it as a context manager."""

    def __init__(self) -> None:
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self._seq = 0

    def __enter__(self) -> Vision:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.bind(self.endpoint)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def beat(self) -> None:
        """Say that vision runs."""
        beat = Heartbeat(
            session_id="s",
            station=_STATION,
            sent_at=_WHEN,
            interval_s=10.0,
            last_seq=self._seq,
            state=State.RUNNING,
            state_s=0.0,
            reason="",
            counters=Counters(),
            cameras={},
        )
        self._socket.send_multipart([f"{_STATION}/heartbeat".encode(), encode(beat)])

    def judge(self, number: int, evaluation: Evaluation) -> int:
        """Send the verdict on a part; return when, as monotonic nanoseconds."""
        self._seq += 1
        message = encode(_verdict(self._seq, number, evaluation))
        now = time.monotonic_ns()
        self._socket.send_multipart([f"{_STATION}/verdict".encode(), message])
        return now


class Watch:
    """Who watches the gateway: a subscriber to its heartbeat, and Prometheus. Use it as a context manager.

    Raises PlcLatencyError at the end where nothing was seen, and what watching costs was not measured.
    """

    def __init__(self) -> None:
        self._heartbeat, self._metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self._seen = {"heartbeats": 0, "scrapes": 0}
        self._end = threading.Event()
        self._threads = [threading.Thread(target=watch) for watch in (self._hear, self._scrape)]

    @property
    def tables(self) -> str:
        """What the gateway's station file has to say."""
        return f'[plc.publish]\nbind = "tcp://{self._heartbeat}"\n[plc.metrics]\nbind = "{self._metrics}"\n'

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        if kind is None and not all(self._seen.values()):
            raise PlcLatencyError(f"expected to see the gateway while it works, saw {self._seen}")

    def _hear(self) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as socket:
            socket.setsockopt_string(zmq.SUBSCRIBE, "")
            socket.connect(f"tcp://{self._heartbeat}")
            while not self._end.is_set():
                if socket.poll(100):
                    socket.recv_multipart()
                    self._seen["heartbeats"] += 1

    def _scrape(self) -> None:
        while not self._end.wait(1.0):
            with urllib.request.urlopen(f"http://{self._metrics}/metrics") as page:
                self._seen["scrapes"] += bool(page.read())


def measure(parts: int, loaded: bool, real_time: bool = False, watched: bool = False) -> Stamps:
    """Send `parts` parts down the line, every second one defective; `loaded` with two busy processes a core.

    With `real_time` gateway, PLC and this process have real-time priority, as the gateway's unit may have it. With
    `watched` its heartbeat is subscribed to, and its metrics are fetched every second.
    Raises PlcLatencyError and PlcError.
    """
    with tempfile.TemporaryDirectory(prefix="plc-latency-") as name, _load(loaded), _priority(real_time):
        folder = Path(name)
        watch = Watch() if watched else None
        tables = watch.tables if watch else ""
        with PlcProgram(build(folder), folder) as plc, Vision() as vision, _gateway(folder, vision, plc, tables):
            journal = Journal(folder / "gateway.jsonl")
            _await_ready(vision, journal)
            with watch or nullcontext():
                sent = _send_parts(plc, vision, parts)
            return _stamps(plc, journal, sent)


def rows(parts: int) -> list[Row]:
    """Figures in milliseconds: quiet, quiet and watched, beside a load, and, if allowed, so with real-time priority."""
    cases = [("quiet", False, False, False), ("quiet, watched", False, False, True), ("loaded", True, False, False)]
    if _may_have_priority():
        cases.append(("loaded, real-time priority", True, True, False))
    found = []
    for name, loaded, real_time, watched in cases:
        stamps = measure(parts, loaded, real_time, watched)
        found.append({"machine": name, "parts": parts, **{what: _summary(ms) for what, ms in vars(stamps).items()}})
    return found


def table(found: Sequence[Row]) -> str:
    """The figures as text."""
    names = {
        "verdict": "verdict to its word in the PLC",
        "pulse": "coil on after its planned moment",
        "length": f"pulse longer than {PULSE_S * 1e3:g} ms",
    }
    lines = [
        [row["machine"], text, *(f"{row[what][column]:.2f}" for column in _COLUMNS)]
        for row in found
        for what, text in names.items()
    ]
    return format_table(("machine", "milliseconds", *_COLUMNS), lines)


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": float(np.percentile(values, 50)),
        "p99": float(np.percentile(values, 99)),
        "max": float(max(values)),
    }


def _send_parts(plc: PlcProgram, vision: Vision, parts: int) -> dict[int, int]:
    sent: dict[int, int] = {}
    begin = time.monotonic()
    for number in range(1, parts + 1):
        _sleep_until(begin + number * _PITCH_S)
        plc.image.sensor = number
        _sleep_until(begin + number * _PITCH_S + _INFERENCE_S)
        sent[number] = vision.judge(number, Evaluation.NOT_OK if number % 2 else Evaluation.OK)
        if number % 50 == 0:
            vision.beat()
    time.sleep(_TRAVEL_S + 10 * PULSE_S)
    return sent


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.monotonic(), 0.0))


def _stamps(plc: PlcProgram, journal: Journal, sent: dict[int, int]) -> Stamps:
    image = plc.image
    words = [(image.result_ns[number] - at) / 1e6 for number, at in sent.items() if image.result_ns[number]]
    if len(words) < len(sent):
        raise PlcLatencyError(f"expected a word on each of {len(sent)} parts, found {len(words)}; is the gateway well?")
    planned = [line["planned"] for line in journal.lines() if line["event"] == "switch" and line["on"]]
    events = [(image.event_ns[i] / 1e9, image.event_coil[i]) for i in range(image.events)]
    ons, offs = ([at for at, level in events if level == wanted] for wanted in (1, 0))
    if not planned or len(ons) != len(planned) or len(offs) != len(ons):
        raise PlcLatencyError(f"expected {len(planned)} pulses at the PLC, found {len(ons)} on and {len(offs)} off")
    return Stamps(
        words,
        [(on - moment) * 1e3 for on, moment in zip(ons, planned, strict=True)],
        [(off - on - PULSE_S) * 1e3 for on, off in zip(ons, offs, strict=True)],
    )


def _await_ready(vision: Vision, journal: Journal) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not journal.ready():
        if time.monotonic() > deadline:
            raise PlcLatencyError(f"the gateway was not Ready within {_START_LIMIT_S:g} s")
        vision.beat()
        time.sleep(0.1)


@contextmanager
def _gateway(folder: Path, vision: Vision, plc: PlcProgram, tables: str) -> Iterator[None]:
    station = folder / "station.toml"
    station.write_text(
        f'station = "{_STATION}"\n[recipes.part]\nbundle = "none"\n[cameras.top]\nkind = "folder"\npath = "none"\n'
        f'[plc]\nconnect = "{vision.endpoint}"\ntravel = {_TRAVEL_S}\nmargin = {_MARGIN_S}\npulse_s = {PULSE_S}\n'
        f'lockout_after = 0\n[plc.modbus]\nhost = "127.0.0.1"\nport = {plc.port}\ntimeout_s = 1.0\n'
        f'[plc.log]\npath = "{folder}/gateway.jsonl"\n{tables}'
    )
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command_line(["plc", "--config", str(station)]), stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _priority(wanted: bool) -> Iterator[None]:
    # Threads and processes that are started within have it, too.
    if wanted:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    try:
        yield
    finally:
        if wanted:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _may_have_priority() -> bool:
    try:
        with _priority(True):
            return True
    except PermissionError:
        return False


@contextmanager
def _load(wanted: bool) -> Iterator[None]:
    count = 2 * len(os.sched_getaffinity(0)) if wanted else 0
    busy = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(count)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        json.dumps(list(range(1000)))


def _verdict(seq: int, number: int, evaluation: Evaluation) -> Verdict:
    return Verdict(
        session_id="s",
        station=_STATION,
        sent_at=_WHEN,
        seq=seq,
        camera="top",
        recipe="part",
        frame_id=seq,
        part_id=str(number),
        trigger_id=None,
        evaluation=evaluation,
        reason="",
        score=0.5,
        threshold=1.0,
        margin=0.5,
        regions=(),
        bundle_digest="",
        captured_at=_WHEN,
        captured_ns=time.monotonic_ns(),
        stage_ms=StageTimes(capture=0.0, queue=0.0),
    )
