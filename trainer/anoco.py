"""Non-conformity drift to anchored normal patches (ANoCo, Seo et al., CVPR 2026, arXiv 2605.28428).

A patch q and the good patches that it resembles, all of length one, are joined by edges as heavy as they are alike;
the good ones are held fast, q follows them. What they pull it to is where the energy sum_j w_j |f - n_j|^2 +
lambda |f - q|^2 is least, f = (lambda q + sum_j w_j n_j) / (lambda + S) with S = sum_j w_j, and how far it goes is its
score, S / (S + lambda) |mu - q| with mu the weighted mean. Where lambda is not small against S, the patches that
resemble nothing move least, which is the wrong way round; so lambda is 0 here, and the score is |mu - q|. The paper
names neither how many patches are retrieved nor lambda, and its code is not published.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engines.bank import Bank

# On held-back good photographs of three products with drawn and pasted defects, 10 to learn from, 3 is a little better
# than 5 and 9; 1 is best on screws and worst on tiles.
NEIGHBOURS = 3

# Rows of one block of similarities: with a bank of some ten thousand its matrix stays below 50 MB.
_ROWS = 1024


class AnchoredNormals:
    """Patch features of good parts, and the drift of a patch to those that it resembles most."""

    def __init__(self, vectors: Tensor, neighbours: int = NEIGHBOURS) -> None:
        """`vectors` float32 `(K, C)` of any length; `neighbours` at most K."""
        self._anchors = functional.normalize(vectors, dim=1)
        self._neighbours = neighbours

    def to_head(self) -> Bank:
        """The vectors as arrays, for export and for the bundle."""
        return Bank(self._anchors.numpy().copy(), self._neighbours)

    @torch.inference_mode()
    def patch_scores(self, patches: Tensor) -> Tensor:
        """Drift of each patch `(N, P, C)`, float32 `(N, P)`, 0 to 2."""
        queries = functional.normalize(patches.flatten(0, -2).float(), dim=1)
        return torch.cat([self._drift(rows) for rows in queries.split(_ROWS)]).view(patches.shape[:-1])

    def _drift(self, queries: Tensor) -> Tensor:
        affinity, places = (queries @ self._anchors.T).topk(self._neighbours)
        weights = affinity.clamp(min=1e-12)
        weights = weights / weights.sum(1, keepdim=True)
        pulled = (weights.unsqueeze(2) * self._anchors[places]).sum(1)
        return torch.linalg.vector_norm(pulled - queries, dim=1)
