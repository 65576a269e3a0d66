"""Anomalies that repeat: photographs that share what the others do not have (after CoDeGraph, arXiv 2510.10456).

A defect that occurs many times finds itself in the others that have it, and its mutual score is low. What gives it
away is a jump: a few photographs resemble the patch closely, and behind them it resembles no other. A good patch's
distances rise gradually. Photographs are joined by the patches that jump from one to the other; groups of the graph
(Louvain) are what a person is asked about, because a rare variant of good parts looks the same: a defect, or a variant?

The paper names no limits that we could take over; ours are ratios and quantiles of the set at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainer.mutual import Compressed, MutualScores, Progress, References, nearest_share, rarity

# A scratch no larger than one patch touches the nine that are averaged over their neighbours; some of them are rare.
FEWEST_PATCHES = 2
FEWEST_PHOTOGRAPHS = 3
# Of a repeated defect nearly all pairs are joined; parts that lie in similar directions form chains.
LEAST_DENSITY = 0.5
# Of the photographs whose rarest patch is no rarer than one that may belong to what repeats.
_UNREMARKABLE = 0.25
# Of the photographs that are like most others. A group is worth a look where its own, compared with all but their
# fellows, would mostly be beyond them.
_ORDINARY = 0.8


@dataclass(frozen=True)
class Community:
    """Photographs, by their indices, that share something rare; `patches` is how many patches two of them share.

    Counted from both, where both are among the references.
    """

    photographs: tuple[int, ...]
    patches: float


def find_communities(
    photographs: Compressed,
    references: References,
    mutual: MutualScores,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Community]:
    """Groups of three photographs and more, most of them joined to one another, that share what others have not."""
    suspicious = suspicious_patches(mutual)
    graph = networkx.Graph()
    chosen = np.flatnonzero(suspicious.sum(1) >= FEWEST_PATCHES)
    for done, image in enumerate(chosen, start=1):
        patches = photographs.of(int(image))[np.flatnonzero(suspicious[image])]
        counts = shared_patches(references.distances(patches, [int(image)]))
        for place in np.flatnonzero(counts >= FEWEST_PATCHES):
            _join(graph, int(image), int(references.chosen[place]), int(counts[place]))
        if progress:
            progress(done, len(chosen))
    groups: Iterable[set[int]] = networkx.community.louvain_communities(graph, seed=seed) if graph else ()
    return [
        _community(graph, group)
        for group in groups
        if len(group) >= FEWEST_PHOTOGRAPHS and networkx.density(graph.subgraph(group)) >= LEAST_DENSITY
    ]


def suspicious_patches(mutual: MutualScores) -> NDArray[np.bool_]:
    """Patches `(N, P)` that a few photographs resemble closely, and that would else be among the rarest of the set.

    Rare: the last of the nearest 30 % is farther than in the rarest patch of a quarter of the photographs. Closely: the
    first is at less than half of that.
    """
    rare = float(np.quantile(mutual.reach.max(axis=1), _UNREMARKABLE))
    return np.asarray((mutual.reach > rare) & (mutual.nearest < mutual.reach / 2))


def upper_fence(values: NDArray[np.float32], ranges: float = 1.5) -> float:
    """Tukey's: `ranges` interquartile ranges above the third quartile."""
    first, third = np.quantile(values, (0.25, 0.75))
    return float(third + ranges * (third - first))


def shared_patches(distances: Tensor) -> NDArray[np.intp]:
    """How many of the patches `(P, R)` resemble each reference before they jump: `(R,)`.

    The jump is the largest step, as a ratio, between successive distances of the nearest 30 %.
    """
    nearest = nearest_share(distances).numpy().clip(1e-6)
    if nearest.shape[1] < 2:
        return np.zeros(distances.shape[1], np.intp)
    before = np.argmax(nearest[:, 1:] / nearest[:, :-1], axis=1)
    limit = np.take_along_axis(nearest, before[:, None], axis=1)
    return np.asarray((distances.numpy() <= limit).sum(0), np.intp)


def score_without_fellows(
    photographs: Compressed, references: References, scores: NDArray[np.float32], communities: Iterable[Community]
) -> NDArray[np.float32]:
    """Patch scores `(N, P)` again, with each community's photographs not compared with one another.

    All others stay as they are, and so do those of a community without which fewer than two references would remain.
    """
    fresh = scores.copy()
    for community in communities:
        members = np.array(community.photographs)
        if np.isin(references.chosen, members, invert=True).sum() < 2:
            continue
        for image in members:
            fresh[image] = rarity(references.distances(photographs.of(int(image)), members)).numpy()
    return fresh


def worth_a_look(
    communities: Iterable[Community], scores: NDArray[np.float32], apart: NDArray[np.float32]
) -> list[Community]:
    """Communities that would stand out if their photographs did not hide one another, those that hide most first.

    `scores` and `apart` are patch scores `(N, P)` before and after `score_without_fellows`.
    """
    ordinary = float(np.quantile(scores.max(axis=1), _ORDINARY))

    def typical(community: Community, patches: NDArray[np.float32]) -> float:
        return float(np.median(patches[list(community.photographs)].max(axis=1)))

    return sorted(
        (found for found in communities if typical(found, apart) > ordinary),
        key=lambda found: typical(found, apart) - typical(found, scores),
        reverse=True,
    )


def _join(graph: networkx.Graph, one: int, other: int, patches: int) -> None:
    """Add to the edge between two photographs; where both are references, both directions count."""
    before = graph.get_edge_data(one, other, {"weight": 0})["weight"]
    graph.add_edge(one, other, weight=before + patches)


def _community(graph: networkx.Graph, group: set[int]) -> Community:
    inside = graph.subgraph(group)
    pairs = len(group) * (len(group) - 1) / 2
    return Community(tuple(sorted(group)), sum(weight for _, _, weight in inside.edges(data="weight")) / pairs)
