"""Latency: from a camera frame in host memory to its verdict on a subscriber's socket in another process.

The real daemon runs in a process of its own. Only its camera is replaced, by one that hands out 1280x1024 frames which
are in memory already. This process subscribes and notes when each verdict arrives, decoded; both use the same clock.

(a) At saturation: the next frame is always there. Gives the sustained rate, and the CPU time of the daemon's threads.
(b) At a fixed rate, open loop: frame k is due at t0 + k / rate, and its latency counts from then, however late the
    daemon takes it. So a stall is seen by every frame that had to wait for it, and none is left out.

Each precision has two rounds or more, each with a daemon of its own, in turns (A B A B); figures are medians of rounds.

    python benchmarks/bench_latency.py --precision bf16 int8 --json latency.json
    python benchmarks/bench_latency.py --quick --backbone resnet18
    python benchmarks/bench_latency.py --plc --json plc.json
    python benchmarks/bench_latency.py --backbone resnet18 --source synthetic genicam rtsp
    python benchmarks/bench_latency.py --backbone resnet18 --archive
    python benchmarks/bench_latency.py --backbone resnet18 --viewers 5
    python benchmarks/bench_latency.py --backbone resnet18 --archive --viewers 5 --realtime 10

--plc measures the gateway instead: from a verdict to its word in a PLC, and how exactly the ejector's coil goes on.

--archive measures each case also with the archive on, in turns and at the same rate: a twentieth of the parts is kept
with its frame, 1280x1024 without loss, and its map, and of the others the verdict. What it costs is the ratio of two
rounds that followed each other.

--viewers N measures each case also with the live page's process beside the daemon and N readers of it, in the same way:
each takes the events and one live picture after the other (`benchmarks/viewers.py`). All of it on this machine. With
both options a case has both.

--realtime N runs the daemon and this subscriber as `install-service --realtime N` runs daemon and gateway. Archive,
page and viewers then go on as ordinary programs do. It needs root or CAP_SYS_NICE.

With --source the daemon opens a camera itself, and times count from the glass: see `benchmarks/live_latency.py`.

Without --bundle it makes a bundle of random weights: speed does not depend on their values. Its threshold lets all
frames pass, as nearly all parts of a line do. With another bundle the frames are not its product, and regions are
looked for in each that is NotOK: `not_ok` is their share.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

# Not benchmarks.bundles, which needs the trainer: the daemon's process imports this module, and its memory is measured.
from benchmarks.disturbance import Disturbance, stat_fields, worst
from benchmarks.latency_plot import plot
from benchmarks.live_latency import SOURCES, measure_source
from benchmarks.live_latency import table as live_table
from benchmarks.machine import REPOSITORY, describe_machine
from benchmarks.ports import free_port
from benchmarks.results import Row, check_folders, format_table
from benchmarks.viewers import Viewers
from edge.cameras.camera import Camera, Capabilities, Frame
from edge.client import GapError, Subscriber
from edge.config import EngineTable, load_config
from edge.daemon import run_station
from edge.product import choose_calibration
from edge.verdict import Evaluation, Verdict
from engines.backbones import BACKBONES
from engines.bundle import Bundle
from engines.errors import InspectError, UsageError
from engines.registry import BACKENDS, PRECISIONS, open_engine
from engines.tuning import best_in_flight

# Frames measured at saturation and again at the fixed rate, and frames before them.
FULL = (2000, 50)
QUICK = (300, 30)
ROUNDS = 2
LOAD = 0.7
SOAK_SAMPLES = 20
TAIL_LIMIT = 3.0
ARCHIVED_SHARE = 0.05
# What the archive, or viewers, may cost: p50 and p99 with them over those without.
COST_LIMITS = {50: 1.05, 99: 1.20}

STATION = "latency"
CAMERA = "memory"
STAGES = ("capture", "queue", "preprocess", "infer", "decide", "publish")
OWN_THREADS = ("MainThread", "capture", "feeder", "collector", "publisher", "archive", "live")
SOCKET = "zmq"
ENGINE = "engine"

_FRAMES = 4
_FALSE_REJECT_RATE = 0.05
_START_LIMIT_S = 300.0
_VERDICT_LIMIT_S = 60.0
_LOOK_S = 0.5
_LEAD_NS = 50_000_000
_LOG_LINES = 12
_STATION_FILE, _FRAMES_FILE, _THREADS_FILE, _LOG_FILE = "station.toml", "frames.npy", "threads.json", "daemon.log"
_SERVE = "import sys; from benchmarks.bench_latency import serve; sys.exit(serve(sys.argv[1]))"


class LatencyError(InspectError):
    """The daemon failed, kept silent, or did not judge every frame."""

    exit_code = 1


class Order(msgspec.Struct, frozen=True):
    """What the camera is to take: `frames` frames, each as soon as there is room for it.

    With an `interval_ns` frame k is due at `start_ns + k * interval_ns` of the monotonic clock instead, in nanoseconds.
    """

    frames: int
    start_ns: int = 0
    interval_ns: int = 0


class MemoryCamera(Camera):
    """Frames that are in memory already, handed out as ordered. `on_open` is called in the thread that uses it."""

    name = "memory"
    capabilities = Capabilities(free_running=False)

    def __init__(self, images: Sequence[NDArray[np.uint8]], on_open: Callable[[], None] = lambda: None) -> None:
        self.orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._images = images
        self._on_open = on_open
        self._order = Order(0)
        self._taken = 0
        self._frame_id = 0

    def open(self) -> None:
        """Tell that somebody uses it."""
        self._on_open()

    def read(self, timeout_s: float) -> Frame | None:
        """Take the next frame; `captured_ns` is when it was due, or now where there is no rate."""
        if self._taken == self._order.frames:
            try:
                self._order, self._taken = self.orders.get(timeout=timeout_s), 0
            except queue.Empty:
                return None
        due_ns = self._order.start_ns + self._taken * self._order.interval_ns if self._order.interval_ns else 0
        wait_s = (due_ns - time.monotonic_ns()) / 1e9
        time.sleep(min(max(wait_s, 0.0), timeout_s))
        return self._frame(due_ns) if wait_s <= timeout_s else None

    def close(self) -> None:
        """Nothing."""

    def _frame(self, due_ns: int) -> Frame:
        now_ns = time.monotonic_ns()
        captured_ns = due_ns or now_ns
        image = self._images[self._frame_id % len(self._images)]
        self._taken += 1
        self._frame_id += 1
        return Frame(self._frame_id, image, captured_ns, time.time() - (now_ns - captured_ns) / 1e9, capture_ms=0.0)


def serve(folder: str) -> int:
    """Be the daemon that `Daemon` has prepared `folder` for, and return its exit code.

    Orders come on stdin, one JSON a line. Its end ends the daemon, also when whoever started it was killed.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    place = Path(folder)
    camera = MemoryCamera(list(np.load(place / _FRAMES_FILE)), lambda: _write_threads(place / _THREADS_FILE))
    threading.Thread(target=_obey, args=(camera.orders,), name="orders", daemon=True).start()
    try:
        return run_station(load_config(place / _STATION_FILE), {CAMERA: camera})
    except InspectError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _obey(orders: queue.SimpleQueue[Order]) -> None:
    # Not sys.stdin: the interpreter cannot close that while a thread reads from it.
    with open(0, "rb", closefd=False) as source:
        for line in source:
            orders.put(msgspec.json.decode(line, type=Order))
    os.kill(os.getpid(), signal.SIGTERM)


def _write_threads(path: Path) -> None:
    # Python names its threads for the kernel from 3.14 on only.
    found = {thread.name.removeprefix(f"{CAMERA}."): thread.native_id for thread in threading.enumerate()}
    path.write_text(json.dumps(found), encoding="utf-8")


@dataclass(frozen=True)
class Heard:
    """A verdict, and the monotonic clock in nanoseconds when it had been received and decoded."""

    verdict: Verdict
    received_ns: int

    @property
    def latency_ms(self) -> float:
        """From when the frame was due."""
        return (self.received_ns - self.verdict.captured_ns) / 1e6

    @property
    def stages(self) -> dict[str, float]:
        """Milliseconds by stage; `wire` is what is left: encoding, sockets, decoding."""
        times = {stage: getattr(self.verdict.stage_ms, stage) or 0.0 for stage in STAGES}
        return {**times, "wire": self.latency_ms - self.verdict.stage_ms.total}


@dataclass(frozen=True)
class Case:
    """An engine at a precision, with so many frames side by side; with the archive on, and with so many viewers."""

    backend: str
    precision: str
    in_flight: int
    archive: bool = False
    viewers: int = 0

    def __str__(self) -> str:
        extra = f", with {self.extra}" if self.extra else ""
        return f"{self.backend} {self.precision}, {self.in_flight} in flight{extra}"

    @property
    def extra(self) -> str:
        """What the case has that the plain one has not."""
        extras = {"the archive": self.archive, f"{self.viewers} viewers": self.viewers}
        return " and ".join(name for name, there in extras.items() if there)

    @property
    def plain(self) -> Case:
        """The case without it."""
        return replace(self, archive=False, viewers=0)


class Daemon:
    """The daemon in a process of its own, and a subscription to it. Leaving the `with` block ends it in any case."""

    def __init__(self, folder: Path, bundle: Path, images: Sequence[NDArray[np.uint8]], case: Case) -> None:
        address = f"tcp://127.0.0.1:{free_port()}"
        (folder / _STATION_FILE).write_text(_station_file(bundle, case, address), encoding="utf-8")
        np.save(folder / _FRAMES_FILE, np.stack(images))
        (folder / _THREADS_FILE).unlink(missing_ok=True)
        self._folder = folder
        self._heard = 0
        self._subscriber = Subscriber(address, station=STATION)
        command = [sys.executable, "-c", _SERVE, str(folder.resolve())]
        with (folder / _LOG_FILE).open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=REPOSITORY)

    def order(self, order: Order) -> None:
        """Have frames taken. Raises LatencyError where the daemon has ended."""
        try:
            self._orders.write(msgspec.json.encode(order) + b"\n")
            self._orders.flush()
        except BrokenPipeError:
            self.process.wait()
            raise self._failure(f"ended with exit code {self.process.returncode}") from None

    def hear(self, count: int) -> list[Heard]:
        """Receive the next `count` verdicts. Raises LatencyError unless each is the decided one of the next frame."""
        return [self._next() for _ in range(count)]

    def finish(self) -> None:
        """Have it end in order. Raises LatencyError where it does not."""
        self._orders.close()
        try:
            code = self.process.wait(_VERDICT_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not end within {_VERDICT_LIMIT_S:g} s") from None
        if code:
            raise self._failure(f"ended with exit code {code}")

    def thread_ticks(self) -> dict[str, int]:
        """CPU time so far in ticks: of each of our own threads, of ZeroMQ's, and of all others as the engine's."""
        names = {number: name for name, number in json.loads((self._folder / _THREADS_FILE).read_text()).items()}
        ticks = dict.fromkeys((*OWN_THREADS, SOCKET, ENGINE), 0)
        for task in (Path("/proc") / str(self.process.pid) / "task").iterdir():
            try:
                comm, spent = (task / "comm").read_text(), sum(map(int, stat_fields(task / "stat")[11:13]))
            except OSError:  # it has ended meanwhile
                continue
            name = names.get(int(task.name), "")
            ticks[name if name in OWN_THREADS else SOCKET if comm.startswith("ZMQ") else ENGINE] += spent
        return ticks

    def memory_mib(self, field: str = "VmRSS") -> float:
        """Its resident memory in MiB; the largest so far with "VmHWM"."""
        lines = (Path("/proc") / str(self.process.pid) / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024

    def __enter__(self) -> Daemon:
        try:
            self._subscriber.__enter__()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._subscriber.close()

    @property
    def _orders(self) -> Any:
        return self.process.stdin

    def _end(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # an order that it never read
            self._orders.close()

    def _next(self) -> Heard:
        limit_s = _VERDICT_LIMIT_S if self._heard else _START_LIMIT_S
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            try:
                message = self._subscriber.receive(_LOOK_S)
            except GapError as error:
                raise self._failure(f"lost verdicts on the way: {error}") from None
            received_ns = time.monotonic_ns()
            if isinstance(message, Verdict):
                return self._checked(Heard(message, received_ns))
            if message is None and self.process.poll() is not None:
                raise self._failure(f"ended with exit code {self.process.returncode}")
        raise self._failure(f"sent no verdict for {limit_s:g} s")

    def _checked(self, heard: Heard) -> Heard:
        verdict = heard.verdict
        self._heard += 1
        if verdict.frame_id != self._heard:
            raise self._failure(f"judged frame {verdict.frame_id} where frame {self._heard} was next")
        if verdict.evaluation is Evaluation.NOT_DECIDABLE:
            raise self._failure(f"could not judge frame {verdict.frame_id} ({verdict.reason})")
        return heard

    def _failure(self, what: str) -> LatencyError:
        lines = (self._folder / _LOG_FILE).read_text(errors="replace").splitlines()[-_LOG_LINES:]
        said = "\n  ".join(lines) if lines else "(nothing)"
        return LatencyError(f"the daemon {what}; its last lines:\n  {said}")


def _station_file(bundle: Path, case: Case, address: str) -> str:
    # JSON strings are TOML strings. The camera's table is never used: the daemon is given a camera.
    return (
        f'station = "{STATION}"\n[recipes.any]\nbundle = {json.dumps(str(bundle.resolve()))}\n\n'
        f'[cameras.{CAMERA}]\nkind = "folder"\npath = "."\n\n'
        f'[engine]\nbackend = "{case.backend}"\nprecision = "{case.precision}"\nin_flight = {case.in_flight}\n\n'
        f'[publish]\nbind = "{address}"\nwait_for_subscriber_s = {_VERDICT_LIMIT_S}\n'
        + (f'[archive]\nfolder = "archive"\nok_share = {ARCHIVED_SHARE}\n' if case.archive else "")
        + (f'[live]\nbind = "tcp://127.0.0.1:{free_port()}"\n[web]\nbind = "127.0.0.1:0"\n' if case.viewers else "")
    )


@dataclass(frozen=True)
class Plan:
    """Frames a window, frames before it, rounds; `rate` in frames a second, None for LOAD of the sustained one."""

    frames: int
    warmup: int
    rounds: int = ROUNDS
    rate: float | None = None
    soak: int = 0


@dataclass(frozen=True)
class Saturated:
    """With the next frame always there: frames a second, and CPU milliseconds a frame by thread."""

    fps: float
    threads_cpu_ms: dict[str, float]
    watch: Disturbance


@dataclass(frozen=True)
class Paced:
    """At a fixed rate in frames a second: what was heard of every frame."""

    rate: float
    heard: list[Heard]
    watch: Disturbance

    def percentile(self, percent: float) -> float:
        """A latency that occurred, in milliseconds: at least `percent` of the frames were as fast (nearest rank)."""
        return float(np.percentile([heard.latency_ms for heard in self.heard], percent, method="inverted_cdf"))

    @property
    def stages(self) -> dict[str, float]:
        """Median milliseconds by stage."""
        times = [heard.stages for heard in self.heard]
        return {stage: statistics.median(each[stage] for each in times) for stage in times[0]}

    @property
    def not_ok(self) -> float:
        """Share of the frames that were rejected, 0 to 1."""
        return sum(heard.verdict.evaluation is Evaluation.NOT_OK for heard in self.heard) / len(self.heard)


@dataclass(frozen=True)
class Round:
    """One daemon from start to end, at real-time priority `realtime`, or 0.

    Memory in MiB; `soak_mib` is sampled evenly, empty where there was no soak.
    """

    saturated: Saturated
    paced: Paced
    realtime: int
    rss_mib: float
    peak_rss_mib: float
    soak_mib: list[float]

    @property
    def figures(self) -> dict[str, float]:
        """What is summarised over the rounds by its median."""
        cpu_ms = self.saturated.threads_cpu_ms
        return {
            "sustained_fps": self.saturated.fps,
            "rate_fps": self.paced.rate,
            **{f"p{percent}_ms": self.paced.percentile(percent) for percent in (50, 95, 99)},
            "own_cpu_ms": sum(ms for name, ms in cpu_ms.items() if name != ENGINE),
            "engine_cpu_ms": cpu_ms[ENGINE],
            "rss_mib": self.rss_mib,
            "not_ok": self.paced.not_ok,
        }


def measure_round(daemon: Daemon, plan: Plan, case: Case, soak: bool) -> Round:
    """Both measurements, and the soak where it is asked for, on a daemon that was just started."""
    saturated = saturate(daemon, plan, case)
    paced = pace(daemon, plan.frames, plan.rate or LOAD * saturated.fps)
    soak_mib = soak_memory(daemon, plan.soak) if soak and plan.soak else []
    realtime = os.sched_getparam(daemon.process.pid).sched_priority
    result = Round(saturated, paced, realtime, daemon.memory_mib(), daemon.memory_mib("VmHWM"), soak_mib)
    daemon.finish()
    return result


def saturate(daemon: Daemon, plan: Plan, case: Case) -> Saturated:
    """Measure `plan.frames` frames after `plan.warmup`, with more behind them, so that the last ones have company."""
    behind = 2 * case.in_flight + 8
    daemon.order(Order(plan.warmup + plan.frames + behind))
    first = daemon.hear(plan.warmup)[-1]
    before = daemon.thread_ticks()
    with Disturbance() as watch:
        last = daemon.hear(plan.frames)[-1]
        after = daemon.thread_ticks()
    daemon.hear(behind)
    tick_ms = 1e3 / os.sysconf("SC_CLK_TCK")
    threads_cpu_ms = {name: (after[name] - before[name]) * tick_ms / plan.frames for name in after}
    return Saturated(plan.frames * 1e9 / (last.received_ns - first.received_ns), threads_cpu_ms, watch)


def pace(daemon: Daemon, frames: int, rate: float) -> Paced:
    """Measure frames that are due at `rate` frames a second, however long each takes."""
    daemon.order(Order(frames, time.monotonic_ns() + _LEAD_NS, round(1e9 / rate)))
    with Disturbance() as watch:
        return Paced(rate, daemon.hear(frames), watch)


def soak_memory(daemon: Daemon, frames: int) -> list[float]:
    """The daemon's resident memory in MiB, SOAK_SAMPLES times from the first to the last of `frames` frames."""
    daemon.order(Order(frames))
    samples, heard = [], 0
    for stop in np.linspace(1, frames, SOAK_SAMPLES).round().astype(int).tolist():
        daemon.hear(stop - heard)
        heard = stop
        samples.append(daemon.memory_mib())
    return samples


def measure(bundle: Bundle, cases: Sequence[Case], images: Sequence[NDArray[np.uint8]], plan: Plan) -> list[Row]:
    """One row a case, their rounds taken in turns. Raises LatencyError."""
    rounds: dict[Case, list[Round]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder:
        for number in range(1, plan.rounds + 1):
            for case in cases:
                print(f"round {number}/{plan.rounds}: {case}", file=sys.stderr, flush=True)
                with Daemon(Path(folder), bundle.path, images, case) as daemon, _watched(Path(folder), case) as viewers:
                    paced = _at_the_rate_of(rounds, case, plan)
                    rounds[case].append(measure_round(daemon, paced, case, soak=number == plan.rounds))
                    if viewers is not None:
                        viewers.pictures()
    return [
        row(bundle, case, found, plan.soak, without=rounds[case.plain] if case.extra else None)
        for case, found in rounds.items()
    ]


def _watched(folder: Path, case: Case) -> contextlib.AbstractContextManager[Viewers | None]:
    return Viewers(folder, _STATION_FILE, CAMERA, case.viewers) if case.viewers else contextlib.nullcontext()


def _at_the_rate_of(rounds: dict[Case, list[Round]], case: Case, plan: Plan) -> Plan:
    """With an extra, the plan at the rate of the round without it that went before."""
    before = rounds[case.plain] if case.extra else None
    return replace(plan, rate=before[-1].paced.rate) if before else plan


def row(
    bundle: Bundle,
    case: Case,
    rounds: Sequence[Round],
    soak_frames: int = 0,
    without: Sequence[Round] | None = None,
) -> Row:
    """Medians over the rounds, and the smallest and largest in `spread`; with their `cost` over rounds `without`."""
    figures = {name: [each.figures[name] for each in rounds] for name in rounds[0].figures}
    watches = [watch for each in rounds for watch in (each.saturated.watch, each.paced.watch)]
    soak = rounds[-1].soak_mib
    return {
        "backbone": bundle.info.backbone.name,
        "engine": case.backend,
        "precision": case.precision,
        "in_flight": case.in_flight,
        **{name: _rounded(statistics.median(values)) for name, values in figures.items()},
        "stages": _medians([each.paced.stages for each in rounds]),
        "threads_cpu_ms": _medians([each.saturated.threads_cpu_ms for each in rounds]),
        "peak_rss_mib": _rounded(max(each.peak_rss_mib for each in rounds)),
        "frames": len(rounds[0].paced.heard),
        "rounds": len(rounds),
        **({"realtime": rounds[0].realtime} if rounds[0].realtime else {}),
        "spread": {name: [_rounded(min(values)), _rounded(max(values))] for name, values in figures.items()},
        "disturbed": worst(watches).remark,
        **({"soak_frames": soak_frames, "soak_rss_mib": [_rounded(mib) for mib in soak]} if soak else {}),
        **({"with": case.extra, "cost": _cost(rounds, without)} if without else {}),
    }


def _cost(rounds: Sequence[Round], without: Sequence[Round]) -> dict[str, list[float]]:
    """For each percentile the ratios of latencies, round by round: with the extra over without."""
    return {
        f"p{percent}": [
            _rounded(each.paced.percentile(percent) / other.paced.percentile(percent))
            for each, other in zip(rounds, without, strict=True)
        ]
        for percent in COST_LIMITS
    }


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: _rounded(statistics.median(each[name] for each in rounds)) for name in rounds[0]}


def _rounded(value: float) -> float:
    return round(value, 3)


def tables(rows: Sequence[Row], markdown: bool = False) -> str:
    """The rows as tables, for people."""
    header = ["engine", "precision", "in flight", "frames/s", "at frames/s", "p50 ms", "p95 ms", "p99 ms", "peak MiB"]
    first = rows[0]
    priority = f", real-time priority {first['realtime']}" if "realtime" in first else ""
    conditions = f"{first['backbone']}, {first['frames']} frames{priority}, median of {first['rounds']} rounds"
    return "\n\n".join(
        [
            f"{conditions} (lowest-highest):",
            format_table([*header, ""], [_cells(each) for each in rows], markdown),
            "Median milliseconds by stage, at the fixed rate:",
            _name_table(rows, "stages", markdown),
            "CPU milliseconds a frame by thread, at saturation:",
            _name_table(rows, "threads_cpu_ms", markdown),
            "\n".join(f"- {line}" for each in rows for line in _remarks(each)),
        ]
    )


def _cells(found: Row) -> list[str]:
    def spread(name: str, digits: int) -> str:
        low, high = found["spread"][name]
        return f"{found[name]:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"

    figures = [spread("sustained_fps", 1), f"{found['rate_fps']:.1f}"]
    latencies = [spread(name, 1) for name in ("p50_ms", "p95_ms", "p99_ms")]
    name = [found["engine"], found["precision"], str(found["in_flight"])]
    return [*name, *figures, *latencies, f"{found['peak_rss_mib']:.0f}", found["disturbed"]]


def _name_table(rows: Sequence[Row], key: str, markdown: bool) -> str:
    names = list(rows[0][key])
    cells = [[each["engine"], each["precision"], *(f"{each[key][name]:.2f}" for name in names)] for each in rows]
    return format_table(["engine", "precision", *names], cells, markdown)


def _remarks(found: Row) -> list[str]:
    name = f"{found['engine']} {found['precision']}"
    ratio = found["p99_ms"] / found["p50_ms"]
    held = "under" if ratio < TAIL_LIMIT else "NOT under"
    lines = [f"{name}: p99 is {ratio:.1f} times p50, {held} {TAIL_LIMIT:g} times"]
    lines.append(f"{name}: own CPU {found['own_cpu_ms']:.2f} ms a frame, the engine's {found['engine_cpu_ms']:.2f} ms")
    if found["rate_fps"] >= found["sustained_fps"]:
        lines.append(f"{name}: overloaded, the rate is above the sustained one: latencies grow as long as it lasts")
    if found.get("soak_rss_mib"):
        lines.append(soak_line(found))
    for percent, limit in COST_LIMITS.items() if "cost" in found else ():
        ratios = found["cost"][f"p{percent}"]
        each = " ".join(f"{ratio:.3f}" for ratio in ratios)
        lines.append(
            f"{name}: p{percent} with {found['with']} over without: median {statistics.median(ratios):.3f} "
            f"(limit {limit:g}); by round {each}"
        )
    return lines


def soak_line(found: Row) -> str:
    """What a row says of the daemon's memory over a soak."""
    soak = found["soak_rss_mib"]
    samples = " ".join(f"{mib:.1f}" for mib in soak)
    growth = (
        f"RSS {soak[0]:.1f} to {soak[-1]:.1f} MiB over {found['soak_frames']} frames, growth {soak[-1] - soak[0]:+.1f}"
    )
    return f"{found['engine']} {found['precision']}: {growth} ({samples})"


def find_cases(bundle: Bundle, engine: str, precisions: Sequence[str], in_flight: int | None) -> list[Case]:
    """What the bundle's calibrations admit of the engine and precisions asked for, each once.

    `in_flight` None measures it, once for all rounds. Raises CalibrationError naming the remedy.
    """
    tables = [msgspec.convert({"backend": engine, "precision": each}, EngineTable) for each in precisions]
    chosen = [choose_calibration(bundle, table) for table in tables]
    names = dict.fromkeys((calibration.backend, calibration.precision) for calibration in chosen)
    return [Case(*name, in_flight or best_in_flight(bundle, *name)[0]) for name in names]


def random_bundle(
    folder: Path, backbone: str, engine: str, precisions: Sequence[str], images: Sequence[NDArray[np.uint8]]
) -> Bundle:
    """A bundle of random weights, calibrated for the precisions on the very frames that will be inspected."""
    from benchmarks.bundles import make_bundle
    from calibration.procedure import calibrate

    bundle = make_bundle(folder / "bundle", backbone, "int8" in precisions)
    frames = [bundle.info.preprocessing(image) for image in images]
    for precision in reversed(precisions):  # so that `auto` finds the first one as the latest
        with open_engine(bundle, engine, precision) as opened:
            bundle = calibrate(bundle, opened, frames, _FALSE_REJECT_RATE)
    return bundle


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        if options.plot and (options.plc or options.source):
            raise UsageError("--plot draws latencies of frames in memory; leave it out with --plc and --source")
        rows, text = _plc(options) if options.plc else _run(options)
    except InspectError as error:
        print(f"bench_latency: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench_latency: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    machine = describe_machine()
    print(text)
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}, {machine['versions']}")
    if not options.bundle and not options.plc:
        print("weights are random and int8 has passed no accuracy gate: figures of speed only")
    if options.json:
        options.json.write_text(
            json.dumps({"machine": machine, "quick": options.quick, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )
    if options.plot:
        options.plot.write_text(plot(rows), encoding="utf-8")
    return 0


def _plc(options: argparse.Namespace) -> tuple[list[Row], str]:
    check_folders(options.json)
    from benchmarks import plc_latency

    rows = plc_latency.rows(plc_latency.QUICK if options.quick else plc_latency.FULL)
    return rows, plc_latency.table(rows)


def _run(options: argparse.Namespace) -> tuple[list[Row], str]:
    check_folders(options.json, options.plot)
    from benchmarks.bundles import rendered_frames

    images = rendered_frames(_FRAMES)
    plan = Plan(*(QUICK if options.quick else FULL), rounds=options.rounds, rate=options.rate, soak=options.soak)
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder:
        if options.bundle:
            bundle = Bundle.open(options.bundle)
        else:
            bundle = random_bundle(Path(folder), options.backbone, options.engine, options.precision, images)
        if options.realtime:
            _take_priority(options.realtime)
        if options.source:
            rows = _measure_sources(Path(folder), bundle, options)
            return rows, live_table(rows)
        cases = find_cases(bundle, options.engine, options.precision, options.in_flight)
        if options.archive or options.viewers:
            extra = {"archive": options.archive, "viewers": options.viewers}
            cases = [each for case in cases for each in (case, replace(case, **extra))]
        rows = measure(bundle, cases, images, plan)
    return rows, tables(rows)


def _take_priority(priority: int) -> None:
    """For this thread, whatever it starts from now on, and so the daemon. Raises UsageError where that is forbidden."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        raise UsageError("--realtime: expected root or CAP_SYS_NICE, found neither; run it with sudo") from None


def _measure_sources(folder: Path, bundle: Bundle, options: argparse.Namespace) -> list[Row]:
    frames, warmup = QUICK if options.quick else FULL
    rows = []
    for case in find_cases(bundle, options.engine, options.precision, 1):
        for source in options.source:
            place = folder / f"{source}-{case.precision}"
            place.mkdir()
            engine = (case.backend, case.precision)
            rows.append(measure_source(place, bundle.path, source, engine, frames, warmup))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK[0]} frames a window instead of {FULL[0]}")
    parser.add_argument("--plc", action="store_true", help="measure the gateway and a PLC instead of the daemon")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--bundle", type=Path, metavar="DIR", help="a calibrated bundle (default: random weights)")
    source.add_argument("--backbone", choices=BACKBONES, default="wide_resnet50_2")
    parser.add_argument("--engine", choices=("auto", *BACKENDS), default="auto")
    parser.add_argument("--precision", choices=("auto", *PRECISIONS), nargs="+", default=["auto"], metavar="P")
    parser.add_argument(
        "--in-flight",
        type=_in_flight,
        metavar="N",
        help="frames side by side; auto, the default, measures what is fastest",
    )
    parser.add_argument(
        "--rate", type=_rate, metavar="FPS", help=f"fixed rate (default: {LOAD:g} of the sustained one)"
    )
    parser.add_argument(
        "--soak", type=_soak, default=0, metavar="FRAMES", help="watch the daemon's memory over so many frames more"
    )
    parser.add_argument("--source", nargs="+", choices=SOURCES, help="with a camera in the way, one frame at a time")
    parser.add_argument("--archive", action="store_true", help="also with the archive on, in turns, and what it costs")
    parser.add_argument("--viewers", type=int, default=0, metavar="N", help="also with N viewers of the live page")
    parser.add_argument(
        "--realtime", type=_priority, default=0, metavar="N", help="daemon and subscriber at real-time priority 1 to 99"
    )
    parser.add_argument("--rounds", type=_rounds, default=ROUNDS, metavar="N", help=f"(default: {ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the percentiles to this file, as SVG")
    return parser


def _in_flight(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"expected auto or a number from 1 to 1024, found {text!r}")
    return int(text)


def _priority(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 99:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 99, found {text!r}")
    return int(text)


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000, found {text!r}")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 100_000:
        raise argparse.ArgumentTypeError(f"expected frames a second above 0 and up to 100000, found {text!r}")
    return rate


def _soak(text: str) -> int:
    if not text.isdecimal() or int(text) < SOAK_SAMPLES:
        raise argparse.ArgumentTypeError(f"expected {SOAK_SAMPLES} frames or more, one a sample, found {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
