"""Gaussian blur of a map as a step of its own on the GPU. The engine blurs inside its graph; benchmarks compare."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TRUNCATE = 4.0  # scipy's: the kernel ends at four sigma


def gaussian_weights(sigma: float) -> NDArray[np.float32]:
    """The Gaussian at whole pixels, from `-radius` to `radius`, summing to one; float32 of shape `(2 radius + 1,)`."""
    radius = int(_TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)
