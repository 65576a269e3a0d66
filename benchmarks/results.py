"""Rows of results: measured, kept in a JSON file that grows by one at a time, shown as a table."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engines.errors import DataError, InspectError

Row = dict[str, Any]


def positive(text: str) -> int:
    """A whole number of at least 1, as an option of a command. Raises ArgumentTypeError."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text}")
    return value


def check_folders(*paths: Path | None) -> None:
    """Raise DataError where a file to write would lie in a folder that does not exist: before anything is measured."""
    for path in paths:
        if path and not path.resolve().parent.is_dir():
            raise DataError(f"{path}: expected a file in an existing folder; create the folder first")


def show_table(
    name: str,
    options: argparse.Namespace,
    measure: Callable[[argparse.Namespace], list[Row]],
    table: Callable[[Sequence[Row], bool], str],
) -> int:
    """Measure what a benchmark's `options` ask for and print the table. Returns the exit code.

    An InspectError is one line on stderr that begins with the benchmark's `name`.
    """
    try:
        check_folders(options.json)
        rows = measure(options)
    except InspectError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    print(table(rows, options.markdown))
    return 0


def load_rows(path: Path) -> list[Row]:
    """Rows written by an earlier run, or none. Raises DataError for a file of something else and a missing folder."""
    if not path.parent.is_dir():
        raise DataError(f"{path}: expected a file in an existing folder, found none at {path.parent}; create it first")
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: expected rows of an earlier run, found no JSON ({error}); move it away") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: expected a JSON list of rows of an earlier run; name another file")
    return rows


def append_row(path: Path, row: Row) -> None:
    """Add one row; a kill at any moment leaves the file with it or without it, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps([*load_rows(path), row], indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def summarise(values: Sequence[float | None], digits: int = 1, scale: float = 100.0) -> str:
    """Mean and sample deviation as text, in percent by default; a dash where a value is missing."""
    present = [value * scale for value in values if value is not None]
    if not present or len(present) < len(values):
        return "-"
    mean = f"{statistics.fmean(present):.{digits}f}"
    return mean if len(present) == 1 else f"{mean} ± {statistics.stdev(present):.{digits}f}"


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Align columns, plainly or as Markdown."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    if not markdown:
        return "\n".join("  ".join(line).rstrip() for line in padded)
    rule = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])
