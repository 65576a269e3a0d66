"""Camera frames on their way into one request: put into pinned memory, uploaded once, preprocessed by one kernel."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.cuda.context import CudaContext
from engines.cuda.memory import DeviceBuffer, PinnedBuffer
from engines.cuda.module import Module
from engines.cuda.sampling import Sampling, find_sampling
from engines.cuda.stream import Stream
from engines.preprocess import Preprocessing, check_frame

_SIGNATURES = {"preprocess": "PiiPiiiPi"}

Frame = NDArray[np.uint8]


def load_preprocessing(context: CudaContext) -> Module:
    """Compile and load the kernel. Raises EngineError."""
    return Module(context, "preprocess.cu", _SIGNATURES)


@dataclass(frozen=True)
class Prepared:
    """A frame that is ready to go: `enqueue` puts its copy and the kernel on the stream, `key` says what those are."""

    key: Hashable
    enqueue: Callable[[], None]


class FrameIntake:
    """One request's way in for camera frames: `prepare` on the CPU, then its `enqueue`, as often as it is the same.

    The preprocessed frame goes to `target`, RGB uint8 of shape `(S, S, 3)` on the GPU. `places` is pinned memory of
    the caller's: a frame that lies there is uploaded from there, any other one is copied to pinned memory first.
    """

    def __init__(
        self, context: CudaContext, stream: Stream, kernel: Module, target: int, places: Sequence[PinnedBuffer]
    ) -> None:
        self._context = context
        self._stream = stream
        self._kernel = kernel
        self._target = target
        self._places = places
        self._geometry: tuple[Preprocessing, tuple[int, ...], int] | None = None
        self._buffers = ExitStack()

    def prepare(self, frame: Frame, preprocessing: Preprocessing) -> Prepared:
        """Take a BGR `(H, W, 3)` or grey `(H, W)` frame. Allocates where its shape is a new one. Raises DataError.

        The context must be current, and nothing of the frame before may be left on the stream.
        """
        frame = check_frame(frame)
        pinned = self._where_it_lies(frame)
        pitch = frame.strides[0] if pinned is not None else frame.nbytes // len(frame)
        if (preprocessing, frame.shape, pitch) != self._geometry:
            self._arrange(preprocessing, frame.shape, pitch)
        if pinned is None:
            np.copyto(self._staged.reshape(frame.shape), frame)
            pinned = self._staged
        addresses = pinned.__array_interface__["data"][0], self._device.address, self._taps.address
        return Prepared((self._geometry, addresses), lambda: self._enqueue(pinned, pitch))

    def close(self) -> None:
        """Give its memory back; the stream must have nothing left to do."""
        self._geometry = None
        self._buffers.close()

    def _where_it_lies(self, frame: Frame) -> Frame | None:
        """The frame's bytes, with what lies between its rows, where they are in one of the caller's places."""
        pixel = frame.shape[2] if frame.ndim == 3 else 1
        if frame.strides[1:] != (pixel, 1)[: frame.ndim - 1] or frame.strides[0] < frame.nbytes // len(frame):
            return None
        size = frame.strides[0] * (len(frame) - 1) + frame.nbytes // len(frame)
        for place in self._places:
            offset = place.offset_of(frame)
            if offset is not None and offset + size <= place.size:
                return place.view((size,), offset=offset)
        return None

    def _arrange(self, preprocessing: Preprocessing, shape: tuple[int, ...], pitch: int) -> None:
        sampling = find_sampling(preprocessing, shape)
        self.close()
        size = pitch * (shape[0] - 1) + int(np.prod(shape[1:]))
        own = self._buffers.enter_context
        self._sampling: Sampling = sampling
        self._device = own(DeviceBuffer(self._context, size))
        self._staged = own(PinnedBuffer(self._context, size)).view((size,))
        self._taps = own(DeviceBuffer(self._context, sampling.taps.nbytes))
        taps = own(PinnedBuffer(self._context, sampling.taps.nbytes)).view((sampling.taps.nbytes,))
        taps[:] = sampling.taps.view(np.uint8)
        self._taps.upload(taps, self._stream)
        self._geometry = (preprocessing, shape, pitch)

    def _enqueue(self, source: Frame, pitch: int) -> None:
        found = self._sampling
        self._device.upload(source, self._stream)
        corner = self._device.address + found.top * pitch + found.left * found.channels
        numbers = found.halvings, found.halved_across, found.halved_down
        arguments = corner, pitch, found.channels, self._taps.address, *numbers, self._target, found.size
        self._kernel.launch("preprocess", found.size, self._stream, *arguments)
