"""A table of photographs that a person has graded: CSV with the columns `image` and `grade`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import DataError


@dataclass(frozen=True)
class Labels:
    """Photographs and, of each, one of the grades that were allowed."""

    paths: tuple[Path, ...]
    grades: tuple[str, ...]


def read_labels(file: Path, allowed: Sequence[str]) -> Labels:
    """Read a table; `image` is relative to the table's folder. Raises DataError that names the line."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected a CSV table in UTF-8 with the columns image and grade: {error}") from None
    if not rows or not {"image", "grade"} <= rows[0].keys():
        raise DataError(f"{file}: expected the columns image and grade and a line for each part, found something else")
    for number, row in enumerate(rows, start=2):
        if (row["grade"] or "").strip() not in allowed:
            raise DataError(
                f"{file}, line {number}: expected a grade out of {', '.join(allowed)}, found {row['grade']!r}"
            )
    paths = tuple(file.parent / (row["image"] or "").strip() for row in rows)
    repeated = [path for index, path in enumerate(paths) if path in paths[:index]]
    if repeated:
        raise DataError(f"{file}: {repeated[0]} is graded twice; one line a photograph")
    return Labels(paths, tuple(row["grade"].strip() for row in rows))
