"""Two triggered cameras of 30 parts a second each on one engine, for minutes: is a part lost, does the memory grow?

The real daemon runs in a process of its own with two `synthetic` cameras of 1280x1024, whose light barriers fire at 30
parts a second whatever the daemon does. This process subscribes. Every part must have one verdict, in the order of its
triggers, and none may be missing, late or an overrun. Memory is sampled all the time; what it grows by is the median of
the last fifth over that of the second fifth, for the first one warms caches.

    python benchmarks/two_cameras.py --json two_cameras.json          # ten minutes
    python benchmarks/two_cameras.py --quick

The bundle has random weights: speed and memory do not depend on their values.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.bench_latency import random_bundle
from benchmarks.disturbance import Disturbance
from benchmarks.machine import REPOSITORY, describe_machine
from edge.cameras.synthetic import Synthetic
from edge.cameras.tables import SyntheticCamera
from edge.client import Subscriber
from edge.demo.child import command_line
from edge.verdict import Evaluation, State, Verdict
from engines.errors import InspectError

FULL_S, QUICK_S = 600.0, 10.0
RATE = 30.0
SIZE = (1280, 1024)
CAMERAS = {"left": 1, "right": 2}
GROWTH_LIMIT_MIB = 8.0
_SAMPLES = 100
_START_LIMIT_S = 300.0
_END_LIMIT_S = 60.0
_PICTURES = 8


class LineError(InspectError):
    """The daemon failed or kept silent."""

    exit_code = 1


@dataclass
class Camera:
    """What was heard of one camera."""

    verdicts: int = 0
    out_of_order: int = 0
    undecidable: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    def take(self, verdict: Verdict, received_ns: int) -> None:
        """Count one verdict."""
        self.verdicts += 1
        self.out_of_order += verdict.trigger_id != self.verdicts
        if verdict.evaluation is Evaluation.NOT_DECIDABLE:
            self.undecidable[verdict.reason.partition(":")[0]] += 1
        self.latencies_ms.append((received_ns - verdict.captured_ns) / 1e6)

    @property
    def figures(self) -> dict[str, Any]:
        """The figures for the JSON file; latencies in milliseconds, from the trigger to the verdict received."""
        p50, p99 = np.percentile(self.latencies_ms, [50, 99]) if self.latencies_ms else (0.0, 0.0)
        latencies = {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}
        counts = {"verdicts": self.verdicts, "out_of_order": self.out_of_order, "undecidable": dict(self.undecidable)}
        return {**counts, **latencies, "max_ms": round(max(self.latencies_ms, default=0.0), 2)}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        with Disturbance() as watch:
            found = run(options.seconds or (QUICK_S if options.quick else FULL_S), options.precision)
    except InspectError as error:
        print(f"two_cameras: {error}", file=sys.stderr)
        return error.exit_code
    found = {"machine": describe_machine(), "disturbed": watch.remark, **found}
    print(report(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if found["passed"] else 1


def run(seconds: float, precision: str) -> dict[str, Any]:
    """Run the line for so long and return the figures. Raises LineError and InspectError."""
    with tempfile.TemporaryDirectory(prefix="two-cameras-") as folder:
        place, address = Path(folder), f"tcp://127.0.0.1:{_free_port()}"
        bundle = random_bundle(place, "resnet18", "auto", [precision], _pictures())
        (place / "station.toml").write_text(_station_file(bundle.path, address), encoding="utf-8")
        command = command_line(["run", "--config", str(place / "station.toml")])
        with (
            (place / "daemon.log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY) as daemon,
        ):
            try:
                return listen(daemon, address, seconds)
            except InspectError as error:
                lines = (place / "daemon.log").read_text(errors="replace").splitlines()[-8:]
                raise LineError("\n  ".join([str(error), *lines])) from None
            finally:
                daemon.kill()


def listen(daemon: subprocess.Popen[bytes], address: str, seconds: float) -> dict[str, Any]:
    """Hear the daemon for so long, have it end in order, and hear its last verdicts."""
    cameras = {name: Camera() for name in CAMERAS}
    memory: list[float] = []
    began = ended = 0.0
    dropped: dict[str, int] = {}
    limit = time.monotonic() + _START_LIMIT_S
    with Subscriber(address) as subscriber:
        while time.monotonic() < limit:
            message = subscriber.receive(1.0)
            now_ns = time.monotonic_ns()
            if message is None and daemon.poll() is not None:
                raise LineError(f"the daemon ended with exit code {daemon.returncode}")
            if isinstance(message, Verdict):
                if not began:
                    began, limit = time.monotonic(), time.monotonic() + seconds + _END_LIMIT_S
                cameras[message.camera].take(message, now_ns)
            elif message is not None:
                dropped = message.counters.dropped
                if message.state is State.STOPPED:
                    return _figures(cameras, memory, ended - began, dropped)
            if began and not ended and time.monotonic() - began > len(memory) * seconds / _SAMPLES:
                memory.append(_memory_mib(daemon.pid))
            if began and not ended and time.monotonic() - began > seconds:
                ended = time.monotonic()
                daemon.send_signal(signal.SIGTERM)
    raise LineError("the daemon did not come to its end in time")


def _figures(
    cameras: dict[str, Camera], memory: list[float], seconds: float, dropped: dict[str, int]
) -> dict[str, Any]:
    growth = growth_mib(memory)
    lost = sum(dropped.values()) + sum(sum(each.undecidable.values()) + each.out_of_order for each in cameras.values())
    return {
        "seconds": round(seconds, 1),
        "rate_fps": RATE,
        "cameras": {name: each.figures for name, each in cameras.items()},
        "dropped": dropped,
        "rss_mib": [round(mib, 1) for mib in memory],
        "growth_mib": round(growth, 1),
        "passed": lost == 0 and growth < GROWTH_LIMIT_MIB,
    }


def growth_mib(samples: Sequence[float]) -> float:
    """By how much memory has grown from the second fifth of the samples to the last one."""
    fifth = max(len(samples) // 5, 1)
    return statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth] or samples[:1])


def report(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{found['seconds']} s, {len(CAMERAS)} cameras at {found['rate_fps']} parts/s"]
    if found["disturbed"]:
        lines.append(found["disturbed"])
    for name, each in found["cameras"].items():
        lines.append(f"{name}: {each['verdicts']} verdicts, {each['out_of_order']} out of order")
        lines.append(f"  NotDecidable: {each['undecidable'] or 'none'}")
        lines.append(f"  p50 {each['p50_ms']} ms, p99 {each['p99_ms']} ms, at most {each['max_ms']} ms")
    lines.append(f"dropped frames: {found['dropped'] or 'none'}; memory growth {found['growth_mib']} MiB")
    lines.append("PASSED" if found["passed"] else "NOT PASSED")
    return "\n".join(lines)


def _table(seed: int) -> SyntheticCamera:
    width, height = SIZE
    return SyntheticCamera(rate=RATE, trigger="hardware", pictures=_PICTURES, seed=seed, width=width, height=height)


def _pictures() -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    """What the cameras will show, so that the threshold and the guards of a random network let all of it pass."""
    images = []
    for seed in CAMERAS.values():
        camera = Synthetic(_table(seed))
        camera.open()
        frames = [camera.read(10.0) for _ in range(_PICTURES)]
        images += [frame.image for frame in frames if frame is not None and frame.image is not None]
    return images


def _station_file(bundle: Path, address: str) -> str:
    cameras = [
        f'[cameras.{name}]\nkind = "synthetic"\ntrigger = "hardware"\nrate = {RATE}\nwidth = {SIZE[0]}\n'
        f"height = {SIZE[1]}\npictures = {_PICTURES}\nseed = {seed}\n"
        for name, seed in CAMERAS.items()
    ]
    # JSON strings are TOML strings.
    head = f'station = "two-cameras"\n[recipes.flange]\nbundle = {json.dumps(str(bundle))}\n'
    tail = f'[publish]\nbind = "{address}"\nwait_for_subscriber_s = 60\n[pipeline]\nframes = 16\n'
    return "\n".join([head, *cameras, tail])


def _memory_mib(pid: int) -> float:
    resident_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_S:g} seconds instead of {FULL_S:g}")
    parser.add_argument("--seconds", type=float, metavar="S", help="so many seconds")
    parser.add_argument("--precision", default="auto", help="arithmetic of the network (default: the fastest here)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
