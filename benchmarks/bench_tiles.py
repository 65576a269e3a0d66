"""What tiles find and what they cost: a product trained on the whole picture, and in tiles, judged on its test set.

Each contender is trained as `edge-inspect train --hold-back 0` trains it and measured as `evaluate` does, once, after
its training. Then all engines take turns on the same photographs, from the frame in memory to the stitched map; a ratio
is taken within each turn, to the whole picture in the same one, and the medians are shown. `one square` is the control:
the same network on one input with about as many pixels as all tiles together.

    python benchmarks/bench_tiles.py --data DIR --weights FILE --tiles 2x2 3x3 --json tiles.json
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.disturbance import Disturbance
from benchmarks.machine import describe_machine
from benchmarks.results import Row, append_row, format_table, show_table
from engines.backbones import BACKBONES
from engines.bundle import Bundle
from engines.engine import Engine
from engines.errors import UsageError
from engines.images import read_image
from engines.preprocess import Preprocessing
from engines.registry import CPU_BACKENDS, open_engine
from engines.tiling import Tiling
from trainer.data import scan_dataset
from trainer.evaluation import evaluate
from trainer.methods import METHODS
from trainer.procedure import Order, learn
from trainer.recipe import DEFAULT, RECIPES

METRICS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro", "escape_at_1pct_fr")
TITLES = ("I-AUROC", "I-AP", "P-AUROC", "P-AP", "AUPRO@0.3", "escapes at 1 % false rejects")
_TURNS, _QUICK_TURNS = 15, 2


@dataclass(frozen=True)
class Contender:
    """One way to look at the pictures."""

    name: str
    preprocessing: Preprocessing


def main(argv: Sequence[str] | None = None) -> int:
    return show_table("bench_tiles", _parser().parse_args(argv), measure, table)


def measure(options: argparse.Namespace) -> list[Row]:
    """Train, evaluate and time every contender; their rows."""
    try:
        wanted = contenders(options.tiles, options.overlap)
    except ValueError as error:
        raise UsageError(f"--tiles: {error}") from None
    with tempfile.TemporaryDirectory(prefix="bench-tiles-") as folder, ExitStack() as stack:
        engines, figures = [], []
        for number, contender in enumerate(wanted):
            bundle = _train(options, contender, Path(folder) / str(number))
            engines.append(stack.enter_context(open_engine(bundle, options.engine, "f32")))
            figures.append(evaluate(bundle, engines[-1], options.data))
        photographs = [read_image(sample.path) for sample in scan_dataset(options.data).test[:: options.every]]
        with Disturbance() as watch:
            times = _take_turns(wanted, engines, photographs, _QUICK_TURNS if options.quick else _TURNS)
    rows = [
        {
            "data": options.data.resolve().name,
            "method": options.method,
            "view": contender.name,
            "pixels": "x".join(map(str, contender.preprocessing.input_shape[::-1])),
            **{metric: found[metric] for metric in METRICS},
            "ms": round(statistics.median(ours), 2),
            "ratio": round(statistics.median(np.divide(ours, times[0])), 2),
            "remark": watch.remark,
            "machine": describe_machine(),
        }
        for contender, found, ours in zip(wanted, figures, times, strict=True)
    ]
    for row in rows if options.json else []:
        append_row(options.json, row)
    return rows


def contenders(grids: Sequence[tuple[int, int]], overlap: float) -> list[Contender]:
    """The whole picture first; then tiles, with the control where they are as many down as across."""
    found = [Contender("whole", Preprocessing(field="full"))]
    for rows, columns in grids:
        tiled = Preprocessing(field="full", tiles=Tiling(rows, columns, overlap))
        found.append(Contender(f"{rows}x{columns} tiles", tiled))
        if rows == columns:
            side = rows * tiled.input_size
            found.append(Contender("one square", Preprocessing(field="full", resize=side)))
    return found


def _train(options: argparse.Namespace, contender: Contender, out: Path) -> Bundle:
    order = Order(
        data=options.data,
        out=out,
        backbone=options.backbone,
        method=options.method,
        recipe=RECIPES[options.recipe].with_epochs(options.epochs),
        preprocessing=contender.preprocessing,
        weights=options.weights,
        seed=0,
        held_back=0.0,
        folds=None,
        lots=None,
        device=torch.device("cpu"),
        resume=False,
    )
    with contextlib.redirect_stdout(sys.stderr):
        print(f"{contender.name}:")
        return learn(order)


def _take_turns(
    contenders_: Sequence[Contender], engines: Sequence[Engine], photographs: Sequence[NDArray[np.uint8]], turns: int
) -> list[list[float]]:
    """Milliseconds a photograph of every contender, a number a turn."""
    times: list[list[float]] = [[] for _ in engines]
    for turn in range(turns + 1):  # the first one warms up
        photograph = photographs[turn % len(photographs)]
        for mine, contender, engine in zip(times, contenders_, engines, strict=True):
            began = time.perf_counter()
            engine.infer(contender.preprocessing(photograph)[None])
            mine.append(1e3 * (time.perf_counter() - began))
    return [mine[1:] for mine in times]


def table(rows: Sequence[Row], markdown: bool = False) -> str:
    """A line a contender, metrics in percent."""
    lines = [
        [
            *(row["data"], row["method"], row["view"], row["pixels"]),
            *(f"{100 * row[metric]:.1f}" if row[metric] is not None else "-" for metric in METRICS),
            *(f"{row['ms']:.1f}", f"{row['ratio']:.2f}", row["remark"]),
        ]
        for row in rows
    ]
    return format_table(
        ["data", "method", "view", "pixels", *TITLES, "ms", "to whole", "remark"],
        lines,
        markdown,
    )


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    return int(rows), int(columns)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="folder in MVTec AD's layout")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18")
    parser.add_argument("--weights", help="file of its ImageNet weights (default: where `train` looks for them)")
    parser.add_argument("--method", choices=METHODS, default="simplenet", help="default: %(default)s")
    parser.add_argument("--recipe", choices=RECIPES, default=DEFAULT.name, help="of simplenet (default: %(default)s)")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--tiles", type=_grid, nargs="+", default=[(2, 2)], metavar="RxC", help="default: 2x2")
    parser.add_argument("--overlap", type=float, default=0.1, help="default: %(default)s")
    parser.add_argument("--engine", choices=CPU_BACKENDS, default="openvino", help="default: %(default)s")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="time on every Nth test photograph")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_TURNS} turns instead of {_TURNS}")
    parser.add_argument("--json", type=Path, help="rows are added to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
