"""Which production lot each photograph is from: the folder that it lies in, or a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from engines.errors import DataError
from engines.images import list_images

FOLDERS = "folders"
"""Instead of a table: every folder of photographs is a lot."""


def list_by_lot(folder: Path) -> list[Path]:
    """Image files directly inside the folders in `folder`. Raises DataError where there are none."""
    inside = sorted(path for path in folder.glob("*") if path.is_dir() and not path.name.startswith("."))
    paths = [image for lot in inside for image in list_images(lot)]
    if not paths:
        raise DataError(f"expected a folder of photographs for each lot in {folder}, found none")
    return paths


def lots_of(paths: Sequence[Path], root: Path, source: str) -> tuple[str, ...]:
    """Name the lot of each photograph; `source` is `FOLDERS`, or a csv file with the columns `file` and `lot`.

    A table's files are relative to `root`, or bare names. Raises DataError that names the photographs without a lot.
    """
    if source == FOLDERS:
        return tuple(path.parent.name for path in paths)
    table = _read_table(Path(source))
    found = [table.get(_relative(path, root), table.get(path.name, "")) for path in paths]
    lacking = [path for path, lot in zip(paths, found, strict=True) if not lot]
    if lacking:
        raise DataError(
            f"{source} names no lot for {len(lacking)} of {len(paths)} photographs (the first is {lacking[0]}); "
            "add them, or leave --lots out"
        )
    return tuple(found)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _read_table(source: Path) -> dict[str, str]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"file", "lot"} <= set(rows.fieldnames or ()):
                raise DataError(f"{source}: expected a table with the columns file and lot in its first line")
            return {row["file"].strip(): (row["lot"] or "").strip() for row in rows if row["file"]}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{source}: expected the word {FOLDERS}, or a csv file with the columns file and lot ({error})"
        ) from None
