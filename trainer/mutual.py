"""Photographs scored against each other, with none of them known to be good (mutual scoring, MuSc, arXiv 2401.16753).

What a good part shows, other photographs show as well; a defect is found in none. So a patch is scored by its distance
to the nearest patch of each other photograph, averaged over the three that are nearest. The paper averages the nearest
30 %; where parts lie in any direction, or each is a little different, most of those do not show the place at all
(docs/photographs.md has what both find). What three photographs and more share is looked for in `repeats`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.memory_bank import coarse_products

# Photographs that a score is the mean over, and the share of them that what repeats is looked for in.
NEAREST = 3
NEAREST_SHARE = 0.3
# Photographs that each one is compared with, where there are more: time grows with their number and not its square.
MOST_REFERENCES = 300
# Components that are kept of a patch's direction; a coreset is chosen on as many.
COMPONENTS = 128

# References in one product: with 784 patches each, its matrix of 10 MB is still near the processor for the maximum.
_TOGETHER = 4
_SAMPLED_PATCHES = 50_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Compressed:
    """Patches of N photographs, of unit length and on their principal components: float16 `(N, P, D)`."""

    patches: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.patches)

    def of(self, image: int) -> Tensor:
        """Float32 `(P, D)`."""
        return torch.from_numpy(self.patches[image].astype(np.float32))


class Compressor:
    """Principal components of patches' directions, found on some of the photographs."""

    def __init__(self, patches: NDArray[np.floating], seed: int = 0) -> None:
        """`patches` `(N, P, C)` of a sample of photographs."""
        flat = torch.from_numpy(patches.astype(np.float32)).flatten(0, 1)
        chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))[:_SAMPLED_PATCHES]
        directions = functional.normalize(flat[chosen], dim=1)
        self._mean = directions.mean(0)
        _, vectors = torch.linalg.eigh(torch.cov((directions - self._mean).T))
        self._components = vectors.flip(1)[:, :COMPONENTS]

    @torch.inference_mode()
    def __call__(self, patches: NDArray[np.floating]) -> NDArray[np.float16]:
        """Patches `(N, P, C)` on at most 128 components, float16 `(N, P, D)`."""
        directions = functional.normalize(torch.from_numpy(patches.astype(np.float32)), dim=2)
        return ((directions - self._mean) @ self._components).to(torch.float16).numpy()


def choose_references(count: int, most: int = MOST_REFERENCES, seed: int = 0) -> NDArray[np.intp]:
    """Indices, ascending, of the photographs that all `count` are compared with: all, or a seeded sample."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


class References:
    """The photographs that others are compared with."""

    def __init__(self, photographs: Compressed, chosen: NDArray[np.intp]) -> None:
        self.chosen = chosen
        flat = torch.from_numpy(photographs.patches[chosen].astype(np.float32)).flatten(0, 1)
        self._columns = flat.T.contiguous()
        self._penalty = flat.square().sum(1) / -2
        self._each = photographs.patches.shape[1]

    def __len__(self) -> int:
        return len(self.chosen)

    @torch.inference_mode()
    def distances(self, patches: Tensor, leave_out: Sequence[int] | NDArray[np.intp] = ()) -> Tensor:
        """From each patch `(P, D)` to the nearest patch of each reference: float32 `(P, R)`.

        Infinite for the photographs `leave_out`, named by their indices among all.
        """
        closeness = torch.empty(len(patches), len(self))
        with coarse_products():
            for block in self._blocks():
                columns = slice(block.start * self._each, block.stop * self._each)
                products = torch.addmm(self._penalty[columns], patches, self._columns[:, columns])
                torch.amax(products.view(len(patches), -1, self._each), 2, out=closeness[:, block])
        distances = (patches.square().sum(1, keepdim=True) - 2 * closeness).clamp_(min=0).sqrt_()
        distances[:, torch.from_numpy(np.isin(self.chosen, leave_out))] = torch.inf
        return distances

    def _blocks(self) -> Iterator[slice]:
        return (slice(start, min(start + _TOGETHER, len(self))) for start in range(0, len(self), _TOGETHER))


@dataclass(frozen=True)
class MutualScores:
    """What comparing gave, float32 `(N, P)` each.

    `scores` are patches' mean distance to the three nearest references, `nearest` the distance to the first of those,
    `reach` to the last of the nearest 30 %.
    """

    scores: NDArray[np.float32]
    nearest: NDArray[np.float32]
    reach: NDArray[np.float32]


def score_mutually(photographs: Compressed, references: References, progress: Progress | None = None) -> MutualScores:
    """Compare every photograph with the references but itself. Needs three photographs; memory does not grow with N^2.

    `progress` is called with the number of photographs done and their total.
    """
    shape = photographs.patches.shape[:2]
    found = MutualScores(*(np.empty(shape, np.float32) for _ in range(3)))
    for image in range(len(photographs)):
        distances = references.distances(photographs.of(image), [image])
        nearest = nearest_share(distances)
        found.scores[image] = rarity(distances).numpy()
        found.nearest[image], found.reach[image] = nearest[:, 0].numpy(), nearest[:, -1].numpy()
        if progress:
            progress(image + 1, len(photographs))
    return found


def rarity(distances: Tensor) -> Tensor:
    """The score of each patch: the mean of its three least `distances` `(P, R)` of those that are finite, `(P,)`."""
    return distances.topk(min(NEAREST, _finite(distances)), largest=False).values.mean(1)


def nearest_share(distances: Tensor) -> Tensor:
    """The nearest 30 % of those of `distances` `(P, R)` that are finite, ascending: `(P, K)`, K at least 1."""
    return distances.topk(max(1, round(NEAREST_SHARE * _finite(distances))), largest=False).values


def _finite(distances: Tensor) -> int:
    return int(distances[0].isfinite().sum())
