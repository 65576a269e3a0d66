"""A plain nearest-neighbour memory bank, the honest control beside SimpleNet.

PatchCore (Roth et al., CVPR 2022, arXiv 2106.08265) on the same patch features: a greedy k-centre coreset of the
good parts' patches, and the Euclidean distance to the nearest of them. The paper's re-weighting of the image score
is left out, as its authors' own code leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.bank import Bank

CORESET_SHARE = 0.1
PROJECTED_CHANNELS = 128

# Rows and columns of one block of distances: its float32 matrix (8 MB) stays in cache between product and minimum.
_ROWS, _COLUMNS = 1024, 2048
# Farthest points looked at between two passes over all points; below 1000 the passes, above 10000 the picks dominate.
_CANDIDATES = 4096
# The coarse search keeps the best of every group of bank vectors, and looks exactly at the groups that won.
_GROUP, _GROUPS_KEPT = 16, 2

Progress = Callable[[int, int], None]


class MemoryBank:
    """Patch features of good parts, and the distance to the nearest of them.

    The search is a blocked matrix product in bfloat16 where the processor multiplies it natively; the vectors that
    come nearest in it are then measured in float32. On photographs that found the nearest vector of 59 741 for each
    of 6 874 patches; only vectors closer to each other than bfloat16 can tell may be taken for one another.
    """

    def __init__(self, vectors: Tensor) -> None:
        """`vectors` float32 `(K, C)`."""
        # Repeats fill the last group; they change no distance.
        self._vectors = vectors[torch.arange(-(-len(vectors) // _GROUP) * _GROUP) % len(vectors)]
        # bfloat16 has 8 bits: more of a distance is left in them without the common part.
        self._centre = vectors.mean(0)
        self._columns = (self._vectors - self._centre).T.contiguous()
        self._penalty = self._columns.square().sum(0) / -2
        # Vectors of a group lie far apart in a block, so that the maximum over them runs along contiguous memory.
        self._groups = torch.cat(
            [
                torch.arange(block.start, block.stop).view(_GROUP, -1).T
                for block in _blocks(len(self._vectors), _COLUMNS)
            ]
        )
        self.size = len(vectors)

    def to_head(self) -> Bank:
        """The vectors as arrays, for export and for the bundle."""
        return Bank(self._vectors[: self.size].numpy().copy())

    @torch.inference_mode()
    def patch_scores(self, patches: Tensor) -> Tensor:
        """Euclidean distance of each patch `(N, P, C)` to its nearest neighbour in the bank, float32 `(N, P)`."""
        if patches.shape[-1] != len(self._columns):
            raise ValueError(f"expected {len(self._columns)} channels, found patches {tuple(patches.shape)}")
        queries = patches.flatten(0, -2).float()
        distances = torch.cat([self._distances(queries[rows]) for rows in _blocks(len(queries), _ROWS)])
        return distances.view(patches.shape[:-1])

    def _distances(self, queries: Tensor) -> Tensor:
        candidates = self._candidates(queries - self._centre)
        exact = []
        # A few rows at a time, because each candidate is a copied vector.
        for rows in _blocks(len(queries), 128):
            difference = self._vectors[candidates[rows]] - queries[rows].unsqueeze(1)
            exact.append(torch.linalg.vector_norm(difference, dim=2).amin(1))
        return torch.cat(exact)

    def _candidates(self, queries: Tensor) -> Tensor:
        """Indices `(Q, up to 32)` of the vectors v in the groups where q . v - |v|^2 / 2 is largest."""
        best = []
        with coarse_products():
            for block in _blocks(len(self._vectors), _COLUMNS):
                closeness = torch.addmm(self._penalty[block], queries, self._columns[:, block])
                best.append(closeness.view(len(queries), _GROUP, -1).amax(1))
        nearest = torch.cat(best, 1)
        winners = nearest.topk(min(_GROUPS_KEPT, nearest.shape[1])).indices
        return self._groups[winners].flatten(1)


def build_memory_bank(
    patches: NDArray[np.float16], share: float = CORESET_SHARE, seed: int = 0, progress: Progress | None = None
) -> MemoryBank:
    """Keep the `share` of patches `(N, P, C)` that covers the rest best."""
    return MemoryBank(choose_patches(patches, coreset_size(patches, share), seed, progress=progress))


def coreset_size(patches: NDArray[np.float16], share: float = CORESET_SHARE) -> int:
    """How many vectors the `share` of patches `(N, P, C)` is."""
    return max(1, round(patches.shape[0] * patches.shape[1] * share))


def choose_patches(
    patches: NDArray[np.float16],
    count: int,
    seed: int = 0,
    images: NDArray[np.intp] | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """The `count` patches of `(N, P, C)` that cover the rest best, or all where there are no more: float32 `(K, C)`.

    Only the photographs at `images` are looked at, where they are named. Distances are taken on a seeded random
    projection to 128 channels (PatchCore section 3.2). `progress` is called with the number of patches chosen and
    their final count.
    """
    images, each = np.arange(len(patches)) if images is None else images, patches.shape[1]
    if count >= len(images) * each:
        return torch.from_numpy(patches[images].astype(np.float32)).flatten(0, 1)
    generator = torch.Generator().manual_seed(seed)
    start = int(torch.randint(len(images) * each, (1,), generator=generator))
    chosen = greedy_coreset(_project(patches, images, generator), count, start, progress).numpy()
    return torch.from_numpy(patches[images[chosen // each], chosen % each].astype(np.float32))


@torch.inference_mode()
def greedy_coreset(points: Tensor, count: int, start: int = 0, progress: Progress | None = None) -> Tensor:
    """Indices of `count` points chosen by greedy k-centre: each next one is the farthest from those before it.

    `points` float32 `(M, D)`. Fewer are returned where all others coincide with a chosen one. The choice is that of
    the textbook algorithm (Gonzalez 1985) up to the rounding of distances. It needs no pass over all points per
    choice: distances to the chosen points only ever shrink, so among the farthest few thousand, brought up to date,
    the farthest one is the farthest of all as long as it beats the largest outdated distance outside.
    """
    squares = points.square().sum(1)
    chosen = torch.tensor([start])
    distances = torch.full((len(points),), torch.inf)
    fresh = chosen
    while True:
        _shrink(distances, points, squares, fresh)
        distances[fresh] = -1.0
        if progress:
            progress(len(chosen), count)
        values, candidates = distances.topk(min(_CANDIDATES + 1, len(points)))
        outside = float(values[-1]) if len(values) < len(points) else 0.0
        picks = _farthest_among(points[candidates], values, max(outside, 0.0), count - len(chosen))
        if not len(picks):
            return chosen
        fresh = candidates[picks]
        chosen = torch.cat([chosen, fresh])


def _farthest_among(points: Tensor, distances: Tensor, floor: float, count: int) -> Tensor:
    """Greedy choice among these points while the farthest lies at least at `floor` (and off the chosen ones)."""
    squares, left = points.square().sum(1), distances.clone()
    picks: list[int] = []
    while len(picks) < count:
        farthest = int(left.argmax())
        if left[farthest] < floor or left[farthest] <= 0:
            break
        picks.append(farthest)
        to_it = torch.addmv(squares, points, points[farthest], alpha=-2).add_(squares[farthest])
        left = torch.minimum(left, to_it)
        left[farthest] = -1.0
    return torch.tensor(picks, dtype=torch.long)


def _shrink(distances: Tensor, points: Tensor, squares: Tensor, fresh: Tensor) -> None:
    """Bring squared distances to the chosen points up to date with newly chosen ones."""
    centres, centre_squares = points[fresh].T.contiguous(), squares[fresh]
    with coarse_products():
        for rows in _blocks(len(points), _ROWS):
            for columns in _blocks(len(fresh), _COLUMNS):
                products = torch.addmm(centre_squares[columns], points[rows], centres[:, columns], alpha=-2)
                torch.minimum(distances[rows], products.amin(1) + squares[rows], out=distances[rows])


def _project(patches: NDArray[np.float16], images: NDArray[np.intp], generator: torch.Generator) -> Tensor:
    """Gaussian random projection (Johnson-Lindenstrauss) of photographs' patches to float32 `(M, 128)`."""
    each, channels = patches.shape[1:]
    matrix = torch.randn(channels, PROJECTED_CHANNELS, generator=generator) / PROJECTED_CHANNELS**0.5
    projected = torch.empty(len(images), each, PROJECTED_CHANNELS)
    for image, room in zip(images, projected, strict=True):
        torch.mm(torch.from_numpy(patches[image].astype(np.float32)), matrix, out=room)
    flat = projected.flatten(0, 1)
    return flat.sub_(flat.mean(0))


def _blocks(total: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


@contextmanager
def coarse_products() -> Iterator[None]:
    """Let float32 products round their factors to bfloat16, where that is faster; sums stay float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
