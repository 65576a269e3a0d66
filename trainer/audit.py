"""Which of the training photographs look like defects: an unlabelled set scored against itself. It deletes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from engines.errors import DataError
from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone
from trainer.data import scan_dataset
from trainer.features import BATCH, extract
from trainer.mutual import Compressed, Compressor, References, choose_references, score_mutually
from trainer.procedure import read_photographs
from trainer.repeats import Community, find_communities, score_without_fellows, upper_fence, worth_a_look
from trainer.weights import Weights

FEWEST = 10
# Photographs that the principal components are found on.
_SAMPLE = 64


@dataclass(frozen=True)
class Audit:
    """What a set of N photographs says of itself, by their order in `paths`.

    `patch_scores` float32 `(N, P)`, higher is less like the rest, row by row on a square grid. `apart` are the same,
    but for each community's photographs, which are compared with all but their fellows. A photograph whose score is
    above `limit`, Tukey's upper fence, stands out. `compared` is how many photographs each was compared with.
    """

    root: Path
    paths: tuple[Path, ...]
    patch_scores: NDArray[np.float32]
    apart: NDArray[np.float32]
    communities: tuple[Community, ...]
    limit: float
    compared: int
    preprocessing: Preprocessing
    backbone: str
    weights: Weights

    @property
    def scores(self) -> NDArray[np.float32]:
        """A photograph's score is its highest patch score: float32 `(N,)`."""
        return self.patch_scores.max(axis=1)

    @property
    def order(self) -> NDArray[np.intp]:
        """Indices of the photographs, what looks most like a defect first."""
        return np.argsort(-self.scores, kind="stable")

    @property
    def standing_out(self) -> int:
        """How many photographs stand out."""
        return int((self.scores > self.limit).sum())

    def name(self, index: int) -> str:
        """A photograph's file, relative to the data set."""
        return self.paths[index].relative_to(self.root).as_posix()

    def community_of(self, index: int) -> int | None:
        """Number, from 1, of the community that a photograph belongs to."""
        return next((n for n, found in enumerate(self.communities, start=1) if index in found.photographs), None)


def audit(
    data: Path, backbone: str, weights: Weights, preprocessing: Preprocessing, device: torch.device, seed: int = 0
) -> Audit:
    """Score the photographs in `data` (of a data set in MVTec AD's layout its train/good) against one another.

    Raises DataError for unreadable photographs, and for fewer than ten different ones.
    """
    paths = [photograph.path for photograph in read_photographs(scan_dataset(data).train_good, preprocessing)]
    if len(paths) < FEWEST:
        raise DataError(
            f"{data}: expected at least {FEWEST} different photographs to compare with one another, found {len(paths)}"
        )
    return audit_photographs(data, paths, backbone, weights, preprocessing, device, seed)


def audit_photographs(
    root: Path,
    paths: Sequence[Path],
    backbone: str,
    weights: Weights,
    preprocessing: Preprocessing,
    device: torch.device,
    seed: int = 0,
) -> Audit:
    """Score photographs, known to be readable, against one another. They lie below `root`."""
    photographs = _compressed(build_backbone(backbone, weights.arrays).to(device), paths, preprocessing, device, seed)
    references = References(photographs, choose_references(len(paths), seed=seed))
    with tqdm(total=len(paths), desc="comparing", unit="photo", disable=None) as bar:
        mutual = score_mutually(photographs, references, lambda done, _: bar.update(done - bar.n))
    communities = find_communities(photographs, references, mutual, seed)
    apart = score_without_fellows(photographs, references, mutual.scores, communities)
    return Audit(
        root=root,
        paths=tuple(paths),
        patch_scores=mutual.scores,
        apart=apart,
        communities=tuple(worth_a_look(communities, mutual.scores, apart)),
        limit=upper_fence(mutual.scores.max(axis=1)),
        compared=len(references),
        preprocessing=preprocessing,
        backbone=backbone,
        weights=weights,
    )


def _compressed(
    backbone: nn.Module, paths: Sequence[Path], preprocessing: Preprocessing, device: torch.device, seed: int
) -> Compressed:
    """Features of all photographs, a few at a time: a set of thousands then takes 200 KB each."""
    sample = sorted(np.random.default_rng(seed).permutation(len(paths))[:_SAMPLE])
    compress = Compressor(extract(backbone, [paths[i] for i in sample], preprocessing, device).patches, seed)
    blocks = []
    with tqdm(total=len(paths), desc="features", unit="photo", disable=None) as bar:
        for start in range(0, len(paths), BATCH):
            some = paths[start : start + BATCH]
            blocks.append(compress(extract(backbone, some, preprocessing, device).patches))
            bar.update(len(some))
    return Compressed(np.concatenate(blocks))


def describe(found: Audit) -> dict[str, object]:
    """What a program reads: photographs in their order, and communities, as JSON's types."""
    places = {int(index): rank for rank, index in enumerate(found.order, start=1)}
    return {
        "data": found.root.resolve().name,
        "photographs": [
            {
                "rank": rank,
                "file": found.name(index),
                "score": round(float(found.scores[index]), 6),
                "score_without_group": round(float(found.apart[index].max()), 6),
                "stands_out": bool(found.scores[index] > found.limit),
                "community": found.community_of(index),
            }
            for index, rank in places.items()
        ],
        "communities": [
            {"files": [found.name(index) for index in community.photographs], "shared_patches": community.patches}
            for community in found.communities
        ],
        "limit": found.limit,
        "compared_with": found.compared,
        "backbone": found.backbone,
        "weights_sha256": found.weights.sha256,
        "field": found.preprocessing.field,
    }
