"""Several triggered cameras on one engine for minutes: is a part lost, and does the daemon grow?

Each camera is synthetic, with a light barrier that fires at the rate: every part counts, none may be dropped. The real
daemon judges them all with one bundle of random weights, calibrated on the very pictures, so that all are OK. The
parts of a second may wait for the engine. Exit code 1 where a part has no verdict or could not be judged, or where the
memory grew after the first fifth of the time.

    python benchmarks/soak_cameras.py                       two cameras at 30 a second for 10 minutes, ResNet-18
    python benchmarks/soak_cameras.py --minutes 0.5
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.machine import describe_machine
from benchmarks.service_process import Service
from edge.client import Subscriber
from edge.demo.parts import render_many
from edge.verdict import Evaluation, Heartbeat, State, Verdict
from engines.backbones import BACKBONES
from engines.errors import InspectError
from engines.registry import open_engine

GROWTH_MIB = 16.0

_CLI = (sys.executable, "-c", "import sys; from engines.cli import main; sys.exit(main())")
_PICTURES = 8
_FALSE_REJECT_RATE = 0.05
_LIMIT_S = 120.0
_SAMPLES = 100


class SoakError(InspectError):
    """A station that does not start or end."""

    exit_code = 1


@dataclass
class Soak:
    """What was heard of the daemon, and its resident memory in MiB over the time."""

    evaluations: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    end: Heartbeat | None = None

    def take(self, message: Verdict | Heartbeat | None) -> None:
        """Count one message."""
        if isinstance(message, Verdict):
            self.evaluations[message.evaluation.value] += 1
            self.latencies_ms.append((time.monotonic_ns() - message.captured_ns) / 1e6)
        elif message is not None and message.state is State.STOPPED:
            self.end = message

    def findings(self) -> dict[str, Any]:
        """The figures, and whether the promises were kept."""
        if self.end is None:
            raise SoakError(f"the daemon did not stop in order within {_LIMIT_S:g} s")
        settled = self.memory_mib[len(self.memory_mib) // 5 :]
        latencies = sorted(self.latencies_ms)
        return {
            "frames": self.end.counters.frames,
            "verdicts": sum(self.evaluations.values()),
            "not_decidable": self.evaluations[Evaluation.NOT_DECIDABLE.value],
            "dropped": dict(self.end.counters.dropped),
            "p50_ms": round(latencies[len(latencies) // 2], 1),
            "p99_ms": round(latencies[len(latencies) * 99 // 100], 1),
            "memory_mib": round(settled[-1], 1),
            "growth_mib": round(max(settled) - settled[0], 1),
        }


def holds(findings: dict[str, Any]) -> bool:
    """Whether every part was judged and the memory stayed."""
    judged = findings["frames"] == findings["verdicts"] > 0 and not findings["not_decidable"]
    return judged and not findings["dropped"] and findings["growth_mib"] <= GROWTH_MIB


def run(folder: Path, bundle: Path, cameras: int, fps: float, seconds: float) -> dict[str, Any]:
    """Watch the daemon for so long, stop it in order, and return what was found."""
    address, soak = f"ipc://{folder}/verdicts", Soak()
    station = folder / "station.toml"
    station.write_text(_station_file(bundle, cameras, fps, address))
    command = (*_CLI, "run", "--config", str(station))
    with Subscriber(address) as subscriber, Service("daemon", command, folder / "daemon.log") as daemon:
        _listen(subscriber, soak, _LIMIT_S, lambda: bool(soak.evaluations))
        if not soak.evaluations:
            raise SoakError(f"no verdict within {_LIMIT_S:g} s:\n{(folder / 'daemon.log').read_text()[-2000:]}")
        for _ in range(_SAMPLES):
            _listen(subscriber, soak, seconds / _SAMPLES, lambda: False)
            soak.memory_mib.append(_resident_mib(daemon.pid))
        daemon.send(signal.SIGTERM)
        _listen(subscriber, soak, _LIMIT_S, lambda: soak.end is not None)
    return soak.findings()


def make_subject(folder: Path, backbone: str) -> Path:
    """A bundle of random weights, calibrated on the pictures that the cameras draw."""
    from benchmarks.bundles import make_bundle
    from calibration.procedure import calibrate

    bundle = make_bundle(folder / "bundle", backbone, int8=False)
    frames = [bundle.info.preprocessing(part.image) for part in render_many("flange", 0, [None] * _PICTURES)]
    with open_engine(bundle) as engine:
        calibrate(bundle, engine, frames, _FALSE_REJECT_RATE)
    return bundle.path


def _listen(subscriber: Subscriber, soak: Soak, limit_s: float, enough: Any) -> None:
    deadline = time.monotonic() + limit_s
    while not enough() and (left_s := deadline - time.monotonic()) > 0:
        soak.take(subscriber.receive(min(left_s, 0.2)))


def _resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _station_file(bundle: Path, cameras: int, fps: float, address: str) -> str:
    tables = "\n".join(
        f'[cameras.c{number}]\nkind = "synthetic"\ntrigger = "hardware"\nrate = {fps}\npictures = {_PICTURES}'
        for number in range(cameras)
    )
    return (
        f'station = "soak"\n[recipes.flange]\nbundle = {json.dumps(str(bundle.resolve()))}\n{tables}\n'
        f'[publish]\nbind = "{address}"\nwait_for_subscriber_s = 60\n'
        f"[pipeline]\nframes = {math.ceil(fps)}\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures. Exit code 1 where a promise was broken."""
    options = _parser().parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            bundle = options.bundle or make_subject(Path(folder), options.backbone)
            findings = run(Path(folder), bundle, options.cameras, options.fps, options.minutes * 60)
    except InspectError as error:
        print(f"soak_cameras: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(f"{name:16} {value}" for name, value in findings.items()))
    machine = describe_machine()
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']}")
    return 0 if holds(findings) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M")
    parser.add_argument("--cameras", type=int, default=2, metavar="N")
    parser.add_argument("--fps", type=float, default=30.0, metavar="FPS", help="of each camera")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="a calibrated bundle (default: random weights)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
