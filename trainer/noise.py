"""Gaussian noise by the million, cheap enough for every training step to draw its own.

A 16-bit random number picks one of 65536 equally likely values of the normal law, in a fifth of the time that a
generator of normals takes. The values' variance is 2e-5 below 1 and the largest is 4.3 sigma, beyond which the law has
2e-5 of its probability. bfloat16, in which heads train where the processor has it, rounds more.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

LEVELS = 1 << 16


class GaussianNoise:
    """N(0, sigma^2) in a dtype of one's choice, from a numpy generator."""

    def __init__(self, sigma: float, dtype: torch.dtype) -> None:
        law = NormalDist()
        middles = [law.inv_cdf((level + 0.5) / LEVELS) for level in range(LEVELS)]
        self._values = (torch.tensor(middles, dtype=torch.float64) * sigma).to(dtype)

    def draw(self, rng: np.random.Generator, rows: int, columns: int) -> Tensor:
        """Independent draws of shape `(rows, columns)`, on the CPU."""
        count = rows * columns
        # Four levels out of every 64 random bits: half the time of asking for 16 at a time.
        levels = rng.bit_generator.random_raw(-(-count // 4)).view(np.uint16)[:count]
        return self._values.index_select(0, torch.from_numpy(levels).to(torch.int32)).view(rows, columns)
