"""Glass to verdict: from the moment a camera took a frame to its verdict at a subscriber, with the camera in the way.

A real daemon on a real peer, one frame at a time: frames come slowly enough for the engine, so that what is measured is
the way and no queue. `over engine` is the whole time without the engine's own stages (preprocess, infer, decide): the
camera, capture, hand-over between threads, message and socket.

Where the glass is: synthetic, when the frame was due; genicam, the first packet of the frame; rtsp, when the server's
source made the picture, before it was encoded.
"""

from __future__ import annotations

import bisect
import json
import shutil
import statistics
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks.ports import free_port
from benchmarks.results import Row, format_table
from benchmarks.service_process import Service
from benchmarks.station_watch import Said, StationWatch
from edge.demo.child import command_line
from edge.verdict import Verdict
from edge.worker import Worker
from engines.errors import DataError, InspectError

SOURCES = ("synthetic", "genicam", "rtsp")

_SIMULATOR = "arv-fake-gv-camera-0.8"
_RATE = 10.0
_LIMIT_S = 120.0
_ENGINE_STAGES = ("preprocess", "infer", "decide")
_HEADER = ("source", "engine", "precision", "frames", "glass p50", "p99", "over engine p50", "p99")


class LiveError(InspectError):
    """A station that does not judge what its camera gives."""

    exit_code = 1


def measure_source(folder: Path, bundle: Path, source: str, engine: tuple[str, str], frames: int, warmup: int) -> Row:
    """Judge `frames` frames of a source after `warmup` others; times are in milliseconds.

    Raises DataError where the source's peer is not installed, LiveError where no verdict comes.
    """
    stamps = folder / "stamps.txt"
    with ExitStack() as stack:
        camera = _start_peer(stack, folder, source, stamps)
        address = f"ipc://{folder}/verdicts"
        station = folder / "live.toml"
        station.write_text(_station_file(bundle, camera, engine, address))
        watch = StationWatch(address)
        listening = Worker("watch", watch)
        listening.start()
        stack.callback(listening.stop, 5.0)
        stack.enter_context(Service("daemon", command_line(["run", "--config", str(station)]), folder / "live.log"))
        heard = _collect(watch, frames, warmup, folder)
    glass = _glass_of(stamps) if source == "rtsp" else None
    return _row(source, engine, heard, glass)


def table(rows: list[Row]) -> str:
    """The rows, times in milliseconds."""
    keys = ("source", "engine", "precision", "frames")
    times = ("glass_p50_ms", "glass_p99_ms", "over_engine_p50_ms", "over_engine_p99_ms")
    cells = [[*(str(row[key]) for key in keys), *(f"{row[key]:.2f}" for key in times)] for row in rows]
    return format_table(_HEADER, cells)


def _start_peer(stack: ExitStack, folder: Path, source: str, stamps: Path) -> str:
    if source == "synthetic":
        return f'kind = "synthetic"\nrate = {_RATE}\nwidth = 1280\nheight = 1024'
    if source == "genicam":
        if shutil.which(_SIMULATOR) is None:
            raise DataError(f"{_SIMULATOR} is not installed: make system-deps")
        stack.enter_context(Service("camera", (_SIMULATOR, "-i", "127.0.0.1"), folder / "camera.log"))
        return f'kind = "genicam"\ndevice = "127.0.0.1"\nfps = {_RATE}\npacket_size = 8000\nretry_s = 0.2'
    port = free_port()
    server = (sys.executable, str(Path(__file__).with_name("rtsp_server.py")), str(port), "--stamps", str(stamps))
    stack.enter_context(Service("rtsp", server, folder / "rtsp.log"))
    return f'kind = "rtsp"\nurl = "rtsp://127.0.0.1:{port}/line"\nretry_s = 0.2'


def _station_file(bundle: Path, camera: str, engine: tuple[str, str], address: str) -> str:
    return (
        f'station = "live"\n[recipes.any]\nbundle = {json.dumps(str(bundle.resolve()))}\n[cameras.top]\n{camera}\n'
        f'[engine]\nbackend = "{engine[0]}"\nprecision = "{engine[1]}"\nin_flight = 1\n'
        f'[publish]\nbind = "{address}"\nwait_for_subscriber_s = 20\n'
    )


def _inferred(said: Said) -> bool:
    # Guards call pictures of something else NotDecidable, after the engine has worked as on any other.
    return isinstance(said.message, Verdict) and said.message.stage_ms.infer is not None


def _collect(watch: StationWatch, frames: int, warmup: int, folder: Path) -> list[Said]:
    heard: list[Said] = []
    since = 0.0
    while len(heard) < frames + warmup:
        said = watch.await_first(since, _inferred, _LIMIT_S)
        if said is None:
            log = (folder / "live.log").read_text()[-2000:]
            raise LiveError(f"no verdict for {_LIMIT_S:g} s; the daemon said last:\n{log}")
        heard.append(said)
        since = float(np.nextafter(said.at, np.inf))
    return heard[warmup:]


def _glass_of(stamps: Path) -> Callable[[Verdict], int]:
    made = [int(line) for line in stamps.read_text().splitlines() if line]

    def glass(verdict: Verdict) -> int:
        # A picture takes less than a frame period to be decoded here, so it is the last one that was made before that.
        decoded_ns = verdict.captured_ns + round(verdict.stage_ms.capture * 1e6)
        return made[max(bisect.bisect_right(made, decoded_ns) - 1, 0)]

    return glass


def _row(source: str, engine: tuple[str, str], heard: list[Said], glass: Callable[[Verdict], int] | None) -> Row:
    totals, overs = [], []
    for said in heard:
        if isinstance(said.message, Verdict):
            taken_ns = glass(said.message) if glass else said.message.captured_ns
            totals.append((said.at * 1e9 - taken_ns) / 1e6)
            stages = said.message.stage_ms
            overs.append(totals[-1] - sum(getattr(stages, stage) or 0.0 for stage in _ENGINE_STAGES))
    return {
        "source": source,
        "engine": engine[0],
        "precision": engine[1],
        "frames": len(totals),
        "glass_p50_ms": statistics.median(totals),
        "glass_p99_ms": float(np.percentile(totals, 99, method="inverted_cdf")),
        "over_engine_p50_ms": statistics.median(overs),
        "over_engine_p99_ms": float(np.percentile(overs, 99, method="inverted_cdf")),
    }
