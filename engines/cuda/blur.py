"""Gaussian blur of a map as a step of its own on the GPU. The engine blurs inside its graph; benchmarks compare."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from engines.cuda.context import CudaContext
from engines.cuda.memory import DeviceBuffer
from engines.cuda.module import Module
from engines.cuda.stream import Stream

_KERNELS = ("blur_rows", "blur_columns")
_TRUNCATE = 4.0  # scipy's: the kernel ends at four sigma


def gaussian_weights(sigma: float) -> NDArray[np.float32]:
    """The Gaussian at whole pixels, from `-radius` to `radius`, summing to one; float32 of shape `(2 radius + 1,)`."""
    radius = int(_TRUNCATE * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


class GaussianBlur:
    """The blur of maps `(size, size)` float32 on the GPU: rows, then columns."""

    def __init__(self, context: CudaContext, stream: Stream, size: int, sigma: float) -> None:
        self._stream = stream
        self._size = size
        weights = gaussian_weights(sigma)
        self._radius = len(weights) // 2
        with ExitStack() as stack:
            self._module = stack.enter_context(Module(context, "blur.cu", dict.fromkeys(_KERNELS, "PPPii")))
            self._between = stack.enter_context(DeviceBuffer(context, 4 * size * size))
            self._weights = stack.enter_context(DeviceBuffer(context, weights.nbytes))
            with context.active():
                self._weights.upload(weights, stream)
                stream.synchronise()
            self._resources = stack.pop_all()

    def enqueue(self, source: int, target: int) -> None:
        """Put the blur of the map at address `source` on the stream; the context must be current."""
        between, rest = self._between.address, (self._weights.address, self._radius, self._size)
        self._module.launch("blur_rows", self._size, self._stream, source, between, *rest)
        self._module.launch("blur_columns", self._size, self._stream, between, target, *rest)

    def __enter__(self) -> GaussianBlur:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()
