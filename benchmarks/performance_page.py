"""Writes docs/performance.md and its plots from what the benchmarks measured last.

    python benchmarks/performance_page.py

It reads docs/performance/fps.json, latency.json and training.json; `make bench` writes these with the quick forms and
then calls this. The text around the figures is here, so that page and figures cannot part.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks import bench_fps, bench_latency, fps_plot, latency_plot
from benchmarks.bench_fps import PAPER_BACKBONE
from benchmarks.machine import REPOSITORY
from benchmarks.results import Row, format_table
from engines.errors import DataError

FOLDER = REPOSITORY / "docs" / "performance"
PAGE = REPOSITORY / "docs" / "performance.md"
PLOTS = {"fps": FOLDER / "fps.svg", "latency": FOLDER / "latency.svg"}

Measured = dict[str, Any]


def page(fps: Measured, latency: Measured, training: Measured) -> str:
    """The page as Markdown."""
    rows, daemons = fps["rows"], latency["rows"]
    return f"""# Performance

Speed is measured by the scripts in `benchmarks/`, as ratios taken in one run, because machines differ and are shared.
`make bench` runs their quick forms and writes this page anew.

## The network alone

From a uint8 frame of the network's size in memory to scores and blurred map, every engine in a process of its own, all
in turns. The yardstick is the paper's graph in PyTorch's eager mode and float32, layer by layer, in the same turns.
Several requests in flight share the cores out: more frames a second, and each takes longer. Weights are random, and
int8 is the fastest setting of [calibration](calibration.md#int8), which has passed no accuracy gate here.

![Frames a second of {PAPER_BACKBONE}, batch 1](performance/{PLOTS["fps"].name})

{bench_fps.report(rows, markdown=True)}

{_sentence(bench_fps.paper_line(rows))} How much of its time was
preprocessing the paper does not say.

{_floor(fps)}

```
python benchmarks/bench_fps.py{_options(fps)} --json docs/performance/fps.json
```

{_conditions(fps["machine"])}

## From the camera's frame to the subscriber

The real daemon in a process of its own, 1280x1024 BGR frames that are in memory already, verdicts received over TCP by
another process. `frames/s` is what it keeps up; the latencies are at a fixed rate of {bench_latency.LOAD:.0%} of that,
each counted from when its frame was due, so that a stall is seen by every frame that had to wait.

![Latency at {bench_latency.LOAD:.0%} of what the daemon keeps up](performance/{PLOTS["latency"].name})

{bench_latency.tables(daemons, markdown=True)}

What is ours and not the engine's is mostly the feeder, which brings the frame to the network's size. The rest is Python
handing frames from thread to thread, JSON and ZeroMQ.

```
python benchmarks/bench_latency.py{_latency_options(latency)} --json docs/performance/latency.json
```

{_conditions(latency["machine"])}
{_soak(daemons)}
## Training

A head for {training["images"]} photographs and {training["epochs"]} epochs of `--recipe paper`
on {training["backbone"]}, against a plain loop that recomputes the frozen features at every step and trains in float32
(`benchmarks/bench_training.py` says what exactly). The official code does more than that loop. `--recipe default` takes
500 steps, however many photographs there are, and not 8000 ([times](accuracy.md#results)).
Extrapolated: {" and ".join(training["extrapolated"])}, from
{training["reference_steps"]} steps of the reference.

{_training(training)}

```
python benchmarks/bench_training.py{_training_options(training)} --json docs/performance/training.json
```

{_conditions(training["machine"])}

## Beside others

Measured once by us on two cores like these, in one run; the official code and its peers are no part of this project, so
no command here prints it. WideResNet50, batch 1, times faster than the official code's own prediction (about half a
second a frame, for it upsamples all 1536 feature channels and runs level 4, too):

| | times |
|---|---|
| official SimpleNet code | 1 |
| PyTorch eager float32, the paper's graph | 3.5 |
| ONNX Runtime float32, folded | 5.4 |
| ONNX Runtime int8, folded | 17 |
| torch.compile bfloat16, folded | 21 |
| OpenVINO bfloat16, folded; two in flight | 31; 42 |
| OpenVINO int8, folded; two in flight | 57; 85 |
"""


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _conditions(machine: Measured) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['gpu']}, " if machine["gpu"] else ""
    return (
        f"{where}{machine['cpu']}, {machine['cores']} cores, commit {machine['commit']}, Python {machine['python']}, "
        f"{versions}."
    )


def _floor(fps: Measured) -> str:
    lines = "; ".join(bench_fps.floor_lines(fps["floor"]))
    return (
        "For orientation, the same arithmetic at the speed of one large matrix product in PyTorch, in the same run: "
        f"{lines}."
    )


def _soak(daemons: Sequence[Row]) -> str:
    said = [bench_latency.soak_line(row) for row in daemons if row.get("soak_rss_mib")]
    return "\n" + "\n".join(f"Memory over a soak: {line}." for line in said) + "\n" if said else ""


def _training(found: Measured) -> str:
    rows = [
        ["features, once", f"{found['cache_s']:.1f} s", "-"],
        ["a step", _span(found["head_step_ms"]), _span(found["reference_step_ms"])],
        ["whole training", f"{found['ours_s'] / 60:.1f} min", f"{found['reference_s'] / 60:.1f} min"],
        ["ratio", f"**{found['ratio']:.1f}**", "1"],
    ]
    return format_table(["", f"ours, {found['head_dtype']}", "recomputing, float32"], rows, markdown=True)


def _span(values: Sequence[float]) -> str:
    middle = sorted(values)[len(values) // 2]
    return f"{middle:.0f} ms ({min(values):.0f}-{max(values):.0f} by round)"


def _options(fps: Measured) -> str:
    backbones = list(dict.fromkeys(row["backbone"] for row in fps["rows"]))
    quick = " --quick" if fps["quick"] else ""
    default = [PAPER_BACKBONE] if fps["quick"] else list(bench_fps.DEFAULT_BACKBONES)
    return quick + ("" if backbones == default else f" --backbone {' '.join(backbones)}")


def _latency_options(latency: Measured) -> str:
    precisions = " ".join(dict.fromkeys(row["precision"] for row in latency["rows"]))
    return f"{' --quick' if latency['quick'] else ''} --precision {precisions}"


def _training_options(training: Measured) -> str:
    return " --quick" if "ours" in training["extrapolated"] else ""


def _read(name: str) -> Measured:
    path = FOLDER / name
    if not path.is_file():
        raise DataError(f"expected measurements in {path}, found none; run: make bench")
    measured: Measured = json.loads(path.read_text(encoding="utf-8"))
    return measured


def main() -> int:
    try:
        fps, latency, training = (_read(name) for name in ("fps.json", "latency.json", "training.json"))
    except DataError as error:
        print(f"performance_page: {error}", file=sys.stderr)
        return error.exit_code
    PAGE.write_text(page(fps, latency, training), encoding="utf-8")
    PLOTS["fps"].write_text(fps_plot.plot(fps["rows"]), encoding="utf-8")
    PLOTS["latency"].write_text(latency_plot.plot(latency["rows"]), encoding="utf-8")
    print("wrote", PAGE, *PLOTS.values())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
