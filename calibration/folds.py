"""Out-of-fold scores: every photograph that was trained on, scored by a head that was trained without it.

Training leaves bundles of such heads in `BUNDLE.folds`, beside the bundle. They are opened with the engine that will
run, so the threshold comes from the arithmetic that it is for.

Heads that were trained apart score on scales of their own: on real photographs the same parts' mean scores differed
between five heads by up to three times the parts' deviation. So a head's scores are first brought to the scale of the
head that runs, by the photographs that both trained on; both know these equally well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.parts import GoodParts, Selection, check_parts, join_parts
from calibration.scoring import PartScores, Progress, score_parts
from engines.bundle import Bundle, folds_folder
from engines.registry import open_engine

Scores = NDArray[np.float32]
_ALIKE = 1e-6


@dataclass(frozen=True)
class OutOfFold:
    """What each of K heads says of the same N parts; part i was left out by head `fold[i]` and trained on by others."""

    heads: tuple[PartScores, ...]
    fold: NDArray[np.intp]

    def aligned(self, own: PartScores) -> PartScores:
        """Each part's scores by the head that did not see it, on the scale of the head that runs, whose are `own`."""
        return PartScores(
            self._aligned([head.scores for head in self.heads], own.scores),
            self._aligned([head.map_peaks for head in self.heads], own.map_peaks),
            own.embeddings,
        )

    def _aligned(self, heads: Sequence[Scores], own: Scores) -> Scores:
        found = np.empty_like(own)
        for number, scores in enumerate(heads):
            out = self.fold == number
            found[out] = align(scores[out], scores[~out], own[~out])
        return found


def align(scores: Scores, trained: Scores, own: Scores) -> Scores:
    """Bring a head's `scores` to the mean and deviation that another head gives the photographs both trained on.

    `trained` and `own` are the two heads' scores of those. Where one of them does not tell the photographs apart, as a
    bank that holds them all, nothing is known to be brought into line.
    """
    spreads = float(trained.std()), float(own.std())
    if min(spreads) <= _ALIKE * max(float(np.abs(scores).max()), 1e-30):
        return scores
    return np.asarray((scores - trained.mean()) * (spreads[1] / spreads[0]) + own.mean(), np.float32)


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
        self, checked: tuple[GoodParts, ...], backend: str, precision: str, progress: Progress | None = None
    ) -> OutOfFold:
        """Score the parts of all folds, in the folds' order, with each head. Raises EngineError."""
        parts, heads = join_parts(checked), []
        for bundle in self.bundles:
            with open_engine(bundle, backend, precision) as engine:
                heads.append(score_parts(engine, parts, progress))
        return OutOfFold(tuple(heads), np.repeat(np.arange(len(checked)), [len(fold) for fold in checked]))

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
