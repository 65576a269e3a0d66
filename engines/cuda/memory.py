"""Memory on the GPU, and memory of the host that the GPU can copy from and to by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cuda.context import CudaContext, Owned
from engines.cuda.stream import Stream


class DeviceBuffer(Owned):
    """`size` bytes on the GPU, at `address`."""

    kind = "device buffer"

    def __init__(self, context: CudaContext, size: int) -> None:
        self.size = size
        super().__init__(context)

    @property
    def address(self) -> int:
        """Where it begins. Fixed for its life: CUDA graphs and TensorRT remember it."""
        return int(self._allocation)

    def upload(self, source: NDArray[Any], stream: Stream) -> None:
        """Begin to copy contiguous `source` to the buffer's beginning; it must be pinned, or this call waits."""
        self._check(source)
        self._context.driver.memcpy_htod_async(self.address, source, stream.raw)

    def download(self, target: NDArray[Any], stream: Stream) -> None:
        """Begin to copy the buffer's beginning to contiguous `target`; it must be pinned, or this call waits."""
        self._check(target)
        self._context.driver.memcpy_dtoh_async(target, self.address, stream.raw)

    def _make(self) -> None:
        self._allocation: Any = self._context.driver.mem_alloc(self.size)

    def _give_back(self) -> None:
        self._allocation.free()

    def _check(self, array: NDArray[Any]) -> None:
        if array.nbytes > self.size:
            raise ValueError(f"expected at most the buffer's {self.size} bytes, found {array.nbytes}")


class PinnedBuffer(Owned):
    """`size` bytes of the host that stay where they are, so that the GPU copies them while the CPU does other things.

    Views of it must not be used after `close`: their memory is gone.
    """

    kind = "pinned buffer"

    def __init__(self, context: CudaContext, size: int) -> None:
        self.size = size
        super().__init__(context)

    @property
    def address(self) -> int:
        """Where it begins, in the host's memory."""
        return int(self._array.__array_interface__["data"][0])

    def view(self, shape: tuple[int, ...], dtype: type[np.generic] = np.uint8, offset: int = 0) -> NDArray[Any]:
        """The bytes from `offset` on as an array."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if offset < 0 or offset + count > self.size:
            raise ValueError(f"expected bytes within the buffer's {self.size}, found {count} from {offset} on")
        return self._array[offset : offset + count].view(dtype).reshape(shape)

    def offset_of(self, array: NDArray[Any]) -> int | None:
        """Where in the buffer `array` begins; None for an array that does not lie in it."""
        offset = int(array.__array_interface__["data"][0]) - self.address
        return offset if 0 <= offset < self.size else None

    def _make(self) -> None:
        self._array: NDArray[np.uint8] = self._context.driver.pagelocked_empty(self.size, np.uint8)

    def _give_back(self) -> None:
        allocation: Any = self._array.base
        allocation.free()
