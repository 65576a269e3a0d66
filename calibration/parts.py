"""Photographs of good parts to calibrate with: where they are found, and which of them may not be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.scoring import Progress
from engines.bundle import Provenance
from engines.errors import DataError
from engines.images import decode_image, fingerprint, list_images, read_bytes, read_image
from engines.lots import list_by_lot
from engines.preprocess import Preprocessing

_NAMED = 10


@dataclass(frozen=True)
class GoodParts:
    """Checked photographs, read and preprocessed one at a time, so that thousands of them fit in memory.

    `parts[i]` is RGB uint8 of shape `(H, W, 3)`. `repeated` are the files left out because their bytes came before.
    """

    paths: tuple[Path, ...]
    preprocessing: Preprocessing
    repeated: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        path = self.paths[index]
        return _frame(path, read_bytes(path), self.preprocessing)

    def photograph(self, index: int) -> NDArray[np.uint8]:
        """The photograph itself, BGR `(H, W, 3)` or grey `(H, W)`."""
        return read_image(self.paths[index])


@dataclass(frozen=True)
class Selection:
    """Files that `--good` stands for, and a sentence that says which they are."""

    paths: tuple[Path, ...]
    origin: str


def select_parts(source: Path, provenance: Provenance, by_lot: bool = False) -> Selection:
    """Turn what the user named into files.

    A text file lists one path a line. In the folder that was trained on, the photographs that training held back are
    meant; in any other MVTec AD data set those of `test/good`; else the folder's own images, or, `by_lot`, those of the
    folders in it. Raises DataError where there is none.
    """
    if source.is_file():
        return Selection(_listed(source), f"listed in {source}")
    kept = tuple(source / name for name in provenance.held_back)
    if _was_trained_on(kept, provenance):
        return Selection(kept, f"that training held back in {source}")
    folder = source / "test" / "good"
    if not folder.is_dir():
        folder = source
    paths = tuple(list_by_lot(folder) if by_lot else list_images(folder))
    if not paths:
        raise DataError(f"expected photographs of good parts in {folder}, found none; name the folder that holds them")
    return Selection(paths, f"in {folder}")


def trained_parts(source: Path, preprocessing: Preprocessing, provenance: Provenance) -> GoodParts:
    """The photographs below the folder `source` that were trained on, known by their bytes.

    Raises DataError where there is none.
    """
    folder = source / "train" / "good"
    known = frozenset(provenance.trained_on)
    unique: dict[str, Path] = {}
    for path in list_images(folder if folder.is_dir() else source):
        mark = fingerprint(read_bytes(path))
        if mark in known:
            unique.setdefault(mark, path)
    if not unique:
        raise DataError(
            f"expected the photographs that the bundle was trained on in {source}, found none of them; name that folder"
        )
    return GoodParts(tuple(unique.values()), preprocessing)


def select_defects(source: Path) -> Selection:
    """The images in a folder of defects, or in its folders, one a kind. Raises DataError where there is none."""
    folders = [source, *sorted(path for path in source.glob("*") if path.is_dir())] if source.is_dir() else []
    paths = tuple(path for folder in folders if folder.name != "good" for path in list_images(folder))
    if not paths:
        raise DataError(f"expected photographs of defects in {source} or in its folders, found none; name their folder")
    return Selection(paths, f"in {source}")


def check_parts(
    selection: Selection, preprocessing: Preprocessing, provenance: Provenance, progress: Progress | None = None
) -> GoodParts:
    """Read every photograph once, and refuse all the unusable ones in a single DataError.

    Refused are files that cannot be read or cut to the region of interest, and files whose bytes were trained on:
    the network knows those too well, so their scores are too low for a threshold. A file whose bytes came before is
    left out: the same photograph twice is one part, and counting it twice would certify too much.
    """
    problems, trained, repeated = [], [], []
    unique: dict[str, Path] = {}
    known = frozenset(provenance.trained_on)
    for done, path in enumerate(selection.paths, start=1):
        try:
            data = read_bytes(path)
            _frame(path, data, preprocessing)
        except DataError as error:
            problems.append(str(error))
            continue
        finally:
            if progress:
                progress("checking", done, len(selection.paths))
        mark = fingerprint(data)
        if mark in known:
            trained.append(path)
        elif unique.setdefault(mark, path) is not path:
            repeated.append(path)
    _refuse(problems, trained, len(selection.paths))
    return GoodParts(tuple(unique.values()), preprocessing, tuple(repeated))


def join_parts(parts: Sequence[GoodParts]) -> GoodParts:
    """Make one sequence of several that are preprocessed alike."""
    paths = tuple(path for some in parts for path in some.paths)
    repeated = tuple(path for some in parts for path in some.repeated)
    return GoodParts(paths, parts[0].preprocessing, repeated)


def _was_trained_on(kept: Sequence[Path], provenance: Provenance) -> bool:
    """Whether the held-back names lie among photographs that were trained on: names alone repeat from set to set."""
    if not kept or not all(path.is_file() for path in kept):
        return False
    others = (path for path in list_images(kept[0].parent) if path not in kept)
    return any(fingerprint(read_bytes(path)) in provenance.trained_on for path in others)


def _refuse(problems: Sequence[str], trained: Sequence[Path], total: int) -> None:
    if problems:
        lines = "\n  ".join(problems)
        raise DataError(f"{len(problems)} image file(s) cannot be used; repair or remove them:\n  {lines}")
    if trained:
        raise DataError(
            f"{len(trained)} of {total} photographs were trained on, so their scores are too low to set a threshold: "
            f"{_names(trained)}; name good parts that the training has not seen, or the folder that was trained on "
            "to use those it held back, or the heads that it left in BUNDLE.folds"
        )


def _names(paths: Sequence[Path]) -> str:
    named = ", ".join(str(path) for path in paths[:_NAMED])
    return named if len(paths) <= _NAMED else f"{named} and {len(paths) - _NAMED} more"


def _listed(source: Path) -> tuple[Path, ...]:
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError(
            f"{source}: expected a folder of images, or a text file with the path of one image a line"
        ) from None
    names = [line.strip() for line in lines]
    paths = tuple(source.parent / name for name in names if name and not name.startswith("#"))
    if not paths:
        raise DataError(f"{source}: expected the path of one image a line, found none")
    return paths


def _frame(path: Path, data: bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    image = decode_image(data, str(path))
    try:
        return preprocessing(image)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
