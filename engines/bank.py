"""Patches of good parts as plain arrays: the head of a network that compares and has not been trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.errors import BundleError


@dataclass(frozen=True)
class Bank:
    """Patch features of good parts: `vectors` float32 `(K, C)`, levels 2 and 3 concatenated.

    A patch q scores |r - q|. With one of its `neighbours`, r is the nearest vector (PatchCore, arXiv 2106.08265). With
    more, q and all vectors have length one, and r is the mean of the nearest, weighted by max(0, cosine): what is left
    of ANoCo's drift (arXiv 2605.28428) where nothing holds the patch back.
    """

    vectors: NDArray[np.float32]
    neighbours: int = 1

    @property
    def channels(self) -> int:
        """Channels of a patch."""
        return int(self.vectors.shape[1])

    @property
    def of_unit_length(self) -> bool:
        """Whether patches are compared by direction alone."""
        return self.neighbours > 1

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The arrays of its safetensors file."""
        return {"vectors": self.vectors, "neighbours": np.array([self.neighbours], np.float32)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[np.float32]], name: str) -> Bank:
        """What `tensors` returned; `name` is for the message. Raises BundleError."""
        vectors, neighbours = tensors["vectors"], tensors["neighbours"]
        sound = vectors.ndim == 2 and vectors.size and vectors.dtype == np.float32 and neighbours.shape == (1,)
        if not sound or not 1 <= int(neighbours[0]) <= len(vectors):
            raise BundleError(
                f"{name}: expected vectors as float32 (K, C) and a number of neighbours from 1 to K, found "
                f"{vectors.dtype} of shape {vectors.shape} and {neighbours.tolist()}; train the bundle again"
            )
        return cls(vectors, int(neighbours[0]))
