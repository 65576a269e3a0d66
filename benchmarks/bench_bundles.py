"""Which of several bundles is faster: one frame at a time through each one's engine, in turns (A B A B).

    edge-inspect train --data DIR --out paper --recipe paper --epochs 1
    edge-inspect train --data DIR --out default --epochs 1
    python benchmarks/bench_bundles.py --bundle paper default --markdown

A ratio is taken within each turn, so that what else the machine does hits all bundles; the medians of the turns are
shown. Each has an engine of its own, on all cores, and frames of noise: time hardly depends on what they show.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.disturbance import Disturbance
from benchmarks.machine import describe_machine
from benchmarks.results import Row, append_row, format_table, positive, show_table
from engines.bundle import Bundle
from engines.engine import Engine
from engines.registry import BACKENDS, open_engine

_TURNS, _WARM_UP = 500, 20


def main(argv: Sequence[str] | None = None) -> int:
    return show_table("bench_bundles", _parser().parse_args(argv), measure, table)


def measure(options: argparse.Namespace) -> list[Row]:
    """A row a bundle; its `ratio` is to the first one. Raises BundleError, EngineError."""
    bundles = [Bundle.open(folder) for folder in options.bundle]
    with ExitStack() as stack:
        engines = [stack.enter_context(open_engine(bundle, options.engine, options.precision)) for bundle in bundles]
        with Disturbance() as watch:
            times = take_turns(engines, options.turns)
        rows = [
            {
                "bundle": bundle.path.name,
                "engine": f"{engine.description.backend} {engine.description.precision}",
                "ms": round(statistics.median(ours), 3),
                "ratio": round(statistics.median(np.divide(ours, times[0])), 3),
                "turns": options.turns,
                "remark": watch.remark,
                "machine": describe_machine(),
            }
            for bundle, engine, ours in zip(bundles, engines, times, strict=True)
        ]
    for row in rows if options.json else []:
        append_row(options.json, row)
    return rows


def take_turns(engines: Sequence[Engine], turns: int) -> list[list[float]]:
    """Milliseconds a frame of each engine, a number a turn; each turn begins with another one."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (1, *engine.input_shape, 3), np.uint8) for engine in engines]
    times: list[list[float]] = [[] for _ in engines]
    for turn in range(_WARM_UP + turns):
        for place in np.roll(range(len(engines)), turn).tolist():
            began = time.perf_counter()
            engines[place].infer(frames[place])
            times[place].append(1e3 * (time.perf_counter() - began))
    return [ours[_WARM_UP:] for ours in times]


def table(rows: Sequence[Row], markdown: bool = False) -> str:
    """A line a bundle."""
    lines = [[row["bundle"], row["engine"], f"{row['ms']:.2f}", f"{row['ratio']:.3f}", row["remark"]] for row in rows]
    return format_table(["bundle", "engine", "ms", "to the first", "remark"], lines, markdown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundle", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--engine", choices=("auto", *BACKENDS), default="auto", help="default: %(default)s")
    parser.add_argument("--precision", default="auto", help="default: %(default)s")
    parser.add_argument("--turns", type=positive, default=_TURNS, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="rows are added to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
