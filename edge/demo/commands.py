"""`edge-inspect demo`: the whole way, on parts drawn by code."""

from __future__ import annotations

import argparse
from pathlib import Path

from engines.cli import Command


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("demo-out"),
        metavar="DIR",
        help="where everything is written (default: demo-out)",
    )
    parser.add_argument(
        "--kind",
        default="flange",
        choices=("flange", "plate", "connector", "gasket"),
        help="what is drawn and inspected (default: flange)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer parts and epochs, to see whether everything runs")


def _run(options: argparse.Namespace) -> None:
    from edge.demo.show import FULL, QUICK, show

    show(options.out, options.kind, QUICK if options.quick else FULL)


demo = Command(
    summary="draw parts, train on them, run the daemon on fresh ones and write a report with heat maps",
    example="edge-inspect demo --out demo-out --kind flange",
    configure=_configure,
    run=_run,
)
