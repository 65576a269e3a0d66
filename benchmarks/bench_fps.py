"""Frames a second of the network alone: every engine and precision of this machine beside PyTorch, in one run.

From a uint8 frame of the network's size in host memory to scores and blurred map. The yardstick is the paper's graph as
it stands, layer by layer, in PyTorch's eager mode and float32: backbone to level 3, pooled patches, adaptor and
discriminator on all of them, the map upsampled and blurred. On a GPU that PyTorch can use it runs there.

Every contender is a process of its own, so that its memory is its own. All are there from the start and take turns
(A B C A B C), so that what else the machine does hits all of them; a ratio is taken within each turn, and the medians
over the turns are shown. Weights are random: time hardly depends on their values, and int8 passes no gate here.

    python benchmarks/bench_fps.py --json fps.json
    python benchmarks/bench_fps.py --quick
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

# Not benchmarks.bundles and nothing of the trainer: the engines' processes import this module.
from benchmarks.disturbance import Disturbance, average
from benchmarks.fps_plot import PAPER_BACKBONE, PAPER_FPS, plot
from benchmarks.machine import REPOSITORY, describe_machine
from benchmarks.results import Row, check_folders, format_table
from engines.backbones import BACKBONES
from engines.backends import tensorrt
from engines.bundle import Bundle
from engines.cuda.devices import find_gpus
from engines.engine import Pending
from engines.errors import EngineError, InspectError
from engines.export import MAP_SIGMA
from engines.registry import GPU_BACKENDS, available_backends, open_engine
from engines.tuning import best_in_flight

UNEVEN = 0.25
TORCH = "torch eager"
FLOOR_PRECISIONS = ("f32", "bf16", "int8")
TORCH_GRAPH = "torch cuda graph f16 (stand-in)"
BLUR = "blur stand-alone"
NO_GRAPH = "no CUDA graph"
CPU_PREPROCESSING = "from a pinned camera frame, preprocessed on the CPU"
GPU_PREPROCESSING = "from a pinned camera frame, preprocessed on the GPU"
CAMERA_SHAPE = (1024, 1280, 3)
DEFAULT_BACKBONES = (PAPER_BACKBONE, "resnet50", "resnet18")

_SERVE = "import sys; from benchmarks.bench_fps import serve; serve(*sys.argv[1:])"
_WARMUP = 3
_PAUSE_S = 0.3  # PyTorch's threads spin for a while after their last work


@dataclass(frozen=True)
class Plan:
    """Turns, seconds a turn, the fewest batches a turn, batch sizes."""

    turns: int
    seconds: float
    least: int
    batches: tuple[int, ...]


FULL = Plan(turns=8, seconds=1.2, least=3, batches=(1, 8))
QUICK = Plan(turns=5, seconds=0.8, least=2, batches=(1,))


@dataclass(frozen=True)
class Contender:
    """What is measured: an engine at a precision, `batch` frames a request, `in_flight` requests side by side.

    `way` tells one way through a GPU from another: without a CUDA graph, or from a whole camera frame.
    """

    backbone: str
    engine: str
    precision: str
    batch: int
    in_flight: int
    way: str = ""

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}, batch {self.batch}, {self.in_flight} in flight{and_way(self.way)}"


def and_way(way: str) -> str:
    """A way, to follow an engine's name."""
    return f", {way}" if way else ""


@dataclass(frozen=True)
class Turn:
    """What a contender did in its turn: milliseconds from submission to result of each request, frames, seconds."""

    latencies_ms: list[float]
    frames: int
    seconds: float
    peak_rss_mib: float

    @property
    def fps(self) -> float:
        return self.frames / self.seconds


@dataclass
class Record:
    """All turns of one contender, and who else used the processor meanwhile."""

    contender: Contender
    turns: list[Turn] = field(default_factory=list)
    watches: list[Disturbance] = field(default_factory=list)

    def row(self, yardstick: Record) -> Row:
        """The figures as they go into the JSON file; ratios against the same turns of `yardstick`."""
        rates = [turn.fps for turn in self.turns]
        ratios = [turn.fps / other.fps for turn, other in zip(self.turns, yardstick.turns, strict=True)]
        latencies = [ms for turn in self.turns for ms in turn.latencies_ms]
        p50, p95, p99 = (float(np.percentile(latencies, q, method="inverted_cdf")) for q in (50, 95, 99))
        return {
            **asdict(self.contender),
            "fps": round(statistics.median(rates), 2),
            "p50_ms": round(p50, 2),
            "p95_ms": round(p95, 2),
            "p99_ms": round(p99, 2),
            "rss_mib": round(self.turns[-1].peak_rss_mib, 1),
            "ratio_to_torch_eager_f32": round(statistics.median(ratios), 2),
            "spread": {
                "fps": [round(min(rates), 2), round(max(rates), 2)],
                "ratio_to_torch_eager_f32": [round(min(ratios), 2), round(max(ratios), 2)],
            },
            "requests": len(latencies),
            "turns": len(self.turns),
            "disturbed": average(self.watches).remark,
        }


class Process:
    """A contender in a process of its own. Leaving the `with` block ends it."""

    def __init__(self, contender: Contender, bundle: Path) -> None:
        self.contender = contender
        command = [sys.executable, "-c", _SERVE, json.dumps(asdict(contender)), str(bundle)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
        )

    def wait_until_ready(self) -> None:
        """Raises EngineError with what it says where it cannot run."""
        self._answer()

    def run(self, plan: Plan) -> Turn:
        """Take a turn."""
        self._orders.write(json.dumps({"seconds": plan.seconds, "least": plan.least}) + "\n")
        self._orders.flush()
        return Turn(**self._answer())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._orders.close()

    @property
    def _orders(self) -> Any:
        return self._process.stdin

    def _answer(self) -> dict[str, Any]:
        for line in self._process.stdout or ():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                if "problem" in answer:
                    raise EngineError(answer["problem"])
                return answer
        raise EngineError(f"its process ended with exit code {self._process.wait()}")


Submit = Callable[[], Pending]


def serve(contender: str, bundle: str) -> None:
    """Be a contender: say that it is ready, then answer every order on stdin with a turn."""
    chosen = Contender(**json.loads(contender))
    try:
        submit = _SUBMITTERS.get(chosen.engine, _engine)(chosen, Bundle.open(bundle))
        for _ in range(_WARMUP):
            submit().result()
    except InspectError as error:
        print(json.dumps({"problem": str(error)}), flush=True)
        return
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        turn = take_turn(submit, chosen, **json.loads(line))
        print(json.dumps(asdict(turn)), flush=True)


def take_turn(submit: Submit, contender: Contender, seconds: float, least: int) -> Turn:
    """Keep `in_flight` requests running, and one more waiting where there are several, for `seconds` at least."""
    running: deque[tuple[float, Pending]] = deque()
    latencies: list[float] = []

    def begin() -> None:
        running.append((time.perf_counter(), submit()))

    for _ in range(contender.in_flight - 1):
        begin()
    start = time.perf_counter()
    while len(latencies) < least or time.perf_counter() - start < seconds:
        begin()
        submitted, pending = running.popleft()
        pending.result()
        latencies.append(1e3 * (time.perf_counter() - submitted))
    spent = time.perf_counter() - start
    for _, pending in running:
        pending.result()
    return Turn(latencies, len(latencies) * contender.batch, spent, _peak_rss_mib())


def _engine(contender: Contender, bundle: Bundle) -> Submit:
    if contender.engine in GPU_BACKENDS:
        return _gpu_engine(contender, bundle)
    engine = open_engine(bundle, contender.engine, contender.precision, contender.in_flight)
    frames = _frames(contender.batch, engine.input_size)
    return lambda: engine.submit(frames)


def _gpu_engine(contender: Contender, bundle: Bundle) -> Submit:
    """Every way through a GPU: frames of the network's size, or whole camera frames preprocessed here or there."""
    engine = tensorrt.open_tensorrt(
        bundle, contender.engine, "measured", contender.in_flight, contender.batch, contender.way != NO_GRAPH
    )
    if contender.way not in (CPU_PREPROCESSING, GPU_PREPROCESSING):
        frames = _frames(contender.batch, engine.input_size)
        return lambda: engine.submit(frames)
    preprocessing = bundle.info.preprocessing
    places = engine.pinned_frames(contender.in_flight + 1, CAMERA_SHAPE)
    for place in places:
        place[:] = np.random.default_rng(0).integers(0, 256, CAMERA_SHAPE, np.uint8)
    turns = itertools.cycle(places)
    if contender.way == GPU_PREPROCESSING:
        return lambda: engine.submit_frame(next(turns), preprocessing)
    return lambda: engine.submit(preprocessing(next(turns))[None])


def _blur(contender: Contender, bundle: Bundle) -> Submit:
    """The blur of a map by itself, from its launch until it is done; the engines blur within their graph."""
    from engines.cuda.blur import GaussianBlur
    from engines.cuda.context import CudaContext
    from engines.cuda.memory import DeviceBuffer
    from engines.cuda.stream import Stream

    size = bundle.info.preprocessing.input_size
    context = CudaContext()
    stream = Stream(context)
    blur = GaussianBlur(context, stream, size, MAP_SIGMA)
    before, after = (DeviceBuffer(context, 4 * size * size) for _ in range(2))

    def submit() -> Pending:
        with context.active():
            blur.enqueue(before.address, after.address)
            stream.synchronise()
        return Done(None)

    return submit


class Done(Pending):
    """A result that is there already: PyTorch's eager mode has nothing in flight."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def result(self) -> Any:
        return self._result


def _torch_graph(contender: Contender, bundle: Bundle) -> Submit:
    from benchmarks.torch_graph import TorchGraph

    frames = _frames(contender.batch, bundle.info.preprocessing.input_size)
    graph = TorchGraph(bundle.read_network(), frames.shape)
    return lambda: Done(graph.infer(frames))


def _torch(contender: Contender, bundle: Bundle) -> Submit:
    from benchmarks.paper_graph import PaperGraph

    graph = PaperGraph(contender.backbone)
    frames = _frames(contender.batch, graph.input_size)
    return lambda: Done(graph.infer(frames))


_SUBMITTERS = {TORCH: _torch, TORCH_GRAPH: _torch_graph, BLUR: _blur}


def _frames(batch: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)


def _peak_rss_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def contenders(backbone: str, batches: Sequence[int], several: int) -> Iterator[Contender]:
    """The yardstick first, then every precision of every usable backend, with one request and with `several`."""
    for batch in batches:
        yield Contender(backbone, TORCH, "f32", batch, 1)
    if find_gpus():
        yield from _gpu_contenders(backbone, batches, several)
    for status in available_backends():
        if status.name in GPU_BACKENDS:
            continue
        for precision in status.probe.precisions if status.probe else ():
            for batch in batches:
                for in_flight in (1, several):
                    yield Contender(backbone, status.name, precision, batch, in_flight)


def _gpu_contenders(backbone: str, batches: Sequence[int], several: int) -> Iterator[Contender]:
    """The ways through a GPU. The stand-in is there to be compared, and for a GPU without TensorRT."""
    for batch in batches:
        yield Contender(backbone, TORCH_GRAPH, "f16", batch, 1)
    yield Contender(backbone, BLUR, "f32", 1, 1)
    usable = [status.name for status in available_backends() if status.name in GPU_BACKENDS and status.probe]
    for name in usable:
        for batch, in_flight, way in itertools.product(batches, (1, several), ("", NO_GRAPH)):
            yield Contender(backbone, name, "f16", batch, in_flight, way)
        for in_flight, way in itertools.product((1, several), (CPU_PREPROCESSING, GPU_PREPROCESSING)):
            yield Contender(backbone, name, "f16", 1, in_flight, way)


def measure(bundle: Bundle, plan: Plan) -> list[Row]:
    """One row a contender that runs here; what those that do not say goes to standard error."""
    backbone = bundle.info.backbone.name
    several = max(2, best_in_flight(bundle, "auto", "auto")[0])
    with contextlib.ExitStack() as stack:
        processes = []
        for contender in contenders(backbone, plan.batches, several):
            process = stack.enter_context(Process(contender, bundle.path))
            try:
                process.wait_until_ready()
                processes.append(process)
            except EngineError as error:
                print(f"{backbone}, {contender}: not measured: {error}", file=sys.stderr, flush=True)
        records = _take_turns(processes, plan)
    return [record.row(records[0]) for record in records]


def _take_turns(processes: Sequence[Process], plan: Plan) -> list[Record]:
    records = [Record(process.contender) for process in processes]
    for turn in range(1, plan.turns + 1):
        print(f"{processes[0].contender.backbone}: turn {turn} of {plan.turns}", file=sys.stderr, flush=True)
        for process, record in zip(processes, records, strict=True):
            time.sleep(_PAUSE_S)
            with Disturbance() as watch:
                record.turns.append(process.run(plan))
            record.watches.append(watch)
    return records


def report(rows: Sequence[Row], markdown: bool = False) -> str:
    """The rows as a table, for people."""
    header = ["backbone", "engine", "precision", "batch", "in flight", "frames/s (lowest-highest)"]
    header += ["p50 ms", "p95 ms", "p99 ms", "peak MiB", "times torch eager f32", ""]
    return format_table(header, [_cells(row) for row in rows], markdown)


def _cells(row: Row) -> list[str]:
    low, high = row["spread"]["fps"]
    least, most = row["spread"]["ratio_to_torch_eager_f32"]
    figures = [f"{row['fps']:.1f} ({low:.1f}-{high:.1f})", *(f"{row[f'p{q}_ms']:.1f}" for q in (50, 95, 99))]
    ratio = f"{row['ratio_to_torch_eager_f32']:.1f} ({least:.1f}-{most:.1f})"
    name = [
        row["backbone"],
        row["engine"] + and_way(row.get("way", "")),
        row["precision"],
        str(row["batch"]),
        str(row["in_flight"]),
    ]
    return [*name, *figures, f"{row['rss_mib']:.0f}", ratio, row["disturbed"] or _uneven(row)]


def _uneven(row: Row) -> str:
    """What to say of turns that differ much: a host that lends its cores to others shows in nothing else."""
    low, high = row["spread"]["fps"]
    spread = (high - low) / row["fps"]
    return f"turns differ by {spread:.0%}" if spread > UNEVEN else ""


def paper_line(rows: Sequence[Row]) -> str:
    """The fastest row of the paper's backbone beside the paper's figure."""
    mine = [row for row in rows if row["backbone"] == PAPER_BACKBONE and row["engine"] != BLUR]
    candidates = [row for row in mine if row["batch"] == 1]
    if not candidates:
        return f"the paper's {PAPER_FPS:g} frames/s are for {PAPER_BACKBONE}, which was not measured"
    best = max(candidates, key=lambda row: float(row["fps"]))
    return (
        f"the paper's {PAPER_FPS:g} frames/s ({PAPER_BACKBONE}, RTX 3080 Ti): {best['fps'] / PAPER_FPS:.2f} times that "
        f"here, {best['fps']:.0f} frames/s with {best['engine']} {best['precision']}, {best['in_flight']} in flight"
    )


def floor_lines(floor: dict[str, dict[str, float]]) -> list[str]:
    """For each backbone the shortest time a frame that its arithmetic allows, in milliseconds by precision."""
    missing = [name for name in FLOOR_PRECISIONS if name not in floor["rates"]]
    remark = f" (this CPU does not multiply {' and '.join(missing)} natively)" if missing else ""
    return [
        f"{backbone}, {work / 1e9:.1f} GFLOP a frame: "
        + ", ".join(f"{precision} {1e3 * work / rate:.1f} ms" for precision, rate in floor["rates"].items())
        + remark
        for backbone, work in floor["operations"].items()
    ]


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        rows, floor = _run(options)
    except InspectError as error:
        print(f"bench_fps: {error}", file=sys.stderr)
        return error.exit_code
    machine = describe_machine()
    result = {"machine": machine, "quick": options.quick, "floor": floor, "rows": rows}
    print(report(rows, options.markdown))
    print(f"\n{paper_line(rows)}")
    print("the same arithmetic at the speed of a large matrix product in PyTorch:", *floor_lines(floor), sep="\n  ")
    print("all of it from one run, in turns; weights are random, and int8 has passed no accuracy gate")
    print(
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores, load {machine['load']}, {machine['versions']}"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        options.plot.write_text(plot(rows), encoding="utf-8")
    return 0


def _run(options: argparse.Namespace) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """The rows, and what the floor is made of: operations by backbone, and the best rates by precision."""
    check_folders(options.json, options.plot)
    from benchmarks.bundles import make_bundle
    from benchmarks.floor import operations, product_rates

    backbones = options.backbone or ([PAPER_BACKBONE] if options.quick else DEFAULT_BACKBONES)
    rows: list[Row] = []
    work = {}
    for backbone in backbones:
        with tempfile.TemporaryDirectory(prefix="bench-fps-") as folder:
            bundle = make_bundle(Path(folder) / "bundle", backbone, int8=True)
            work[backbone] = operations(bundle.read_network())
            rows += measure(bundle, QUICK if options.quick else FULL)
    return rows, {"operations": work, "rates": product_rates()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Frames a second of every engine and precision, beside PyTorch.", allow_abbrev=False
    )
    parser.add_argument("--backbone", nargs="+", choices=BACKBONES, help=f"default: {', '.join(DEFAULT_BACKBONES)}")
    parser.add_argument("--quick", action="store_true", help=f"{PAPER_BACKBONE}, batch 1, a few short turns")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--plot", type=Path, help="draw them to this file, as SVG")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
