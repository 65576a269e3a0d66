"""Out-of-fold scores: every photograph that was trained on, scored by a head that was trained without it.

Training leaves bundles of such heads in `BUNDLE.folds`, beside the bundle. They are opened with the engine that will
run, so the threshold comes from the arithmetic that it is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.parts import GoodParts, Selection, check_parts
from calibration.scoring import PartScores, Progress, score_parts
from engines.bundle import Bundle, folds_folder
from engines.registry import open_engine


@dataclass(frozen=True)
class Folds:
    """Bundles of the heads, and the photographs below the folder `source` that each was trained without."""

    bundles: tuple[Bundle, ...]
    source: Path

    @property
    def selection(self) -> Selection:
        """All photographs, fold by fold."""
        paths = tuple(path for bundle in self.bundles for path in self._left_out(bundle))
        return Selection(paths, f"in {self.source}, each scored by one of {len(self.bundles)} heads trained without it")

    def parts(self, progress: Progress | None = None) -> tuple[GoodParts, ...]:
        """Check the photographs of each fold. Raises DataError, also where a head was trained on one of them."""
        return tuple(
            check_parts(
                Selection(self._left_out(bundle), f"in {self.source}"),
                bundle.info.preprocessing,
                bundle.info.provenance,
                progress,
            )
            for bundle in self.bundles
        )

    def score(
        self, parts: tuple[GoodParts, ...], backend: str, precision: str, progress: Progress | None = None
    ) -> PartScores:
        """Score each fold's parts with its own head, in the folds' order. Raises EngineError."""
        found = []
        for bundle, fold in zip(self.bundles, parts, strict=True):
            with open_engine(bundle, backend, precision) as engine:
                found.append(score_parts(engine, fold, progress))
        return PartScores(
            np.concatenate([scores.scores for scores in found]),
            np.concatenate([scores.map_peaks for scores in found]),
            np.concatenate([scores.embeddings for scores in found]),
        )

    def _left_out(self, bundle: Bundle) -> tuple[Path, ...]:
        return tuple(self.source / name for name in bundle.info.provenance.held_back)


def find_folds(bundle: Bundle, source: Path) -> Folds | None:
    """The folds beside `bundle`, where it was trained with them and `source` is the folder that it was trained on.

    Raises BundleError for a fold that was altered.
    """
    folder = folds_folder(bundle.path)
    if bundle.info.provenance.held_back or not folder.is_dir():
        return None
    bundles = tuple(Bundle.open(path) for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    digest = bundle.info.provenance.dataset_digest
    folds = Folds(bundles, source)
    ours = bool(bundles) and all(fold.info.provenance.dataset_digest == digest for fold in bundles)
    return folds if ours and all(path.is_file() for path in folds.selection.paths) else None
