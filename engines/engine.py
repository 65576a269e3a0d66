"""The engine: what runs a bundle's network on this machine, whichever library does the arithmetic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineError
from engines.preprocess import Preprocessing


@dataclass(frozen=True)
class Inspection:
    """What the network says of N frames; higher is more anomalous.

    `scores` float32 `(N,)`: the largest raw patch score (SimpleNet eq. 11).
    `maps` float32 `(N, H, W)`: patch scores, bilinear to the input's size, Gaussian sigma 4 (eq. 10).
    `embeddings` float32 `(N, C)`: levels 2 and 3 averaged over the image, for the guards.
    """

    scores: NDArray[np.float32]
    maps: NDArray[np.float32]
    embeddings: NDArray[np.float32]


@dataclass(frozen=True)
class EngineDescription:
    """Which engine this is. `precision` is one of f32, f16, bf16, int8; `reason` says why it was chosen."""

    backend: str
    device: str
    precision: str
    versions: dict[str, str] = field(default_factory=dict)
    reason: str = ""


class Pending(ABC):
    """Frames that an engine works on. Ask for its result once: until then it holds one of the engine's requests."""

    @abstractmethod
    def result(self) -> Inspection:
        """Wait for what the network says of the frames. Raises EngineError."""


class Engine(ABC):
    """A compiled network; close it, or use it as a context manager.

    It works on `in_flight` frames side by side. One more may be submitted meanwhile, so that none of its cores waits
    for Python. One thread may submit while another one collects.
    """

    description: EngineDescription
    input_size: int
    in_flight: int

    @property
    def input_shape(self) -> tuple[int, int]:
        """Height and width of the frames that it inspects; the network's square, where they are not cut into tiles."""
        return self.input_size, self.input_size

    @abstractmethod
    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        """Begin to inspect preprocessed RGB uint8 frames `(N, *input_shape, 3)`, and return before it is done.

        The frames must not change until their result is there. With `in_flight + 1` results outstanding it waits for
        one of them to be collected by another thread. Raises EngineError.
        """

    def takes(self, preprocessing: Preprocessing) -> bool:
        """Whether the engine preprocesses camera frames so itself. `submit_frame` is then the way in for all."""
        return False

    def submit_frame(self, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> Pending:
        """Begin to inspect one camera frame, BGR uint8 `(H, W, 3)` or grey `(H, W)`, and return before it is done.

        Only where the engine `takes` that preprocessing. The frame must not change until its result is there. Raises
        EngineError, and DataError for what is no frame.
        """
        raise EngineError(
            f"{self.description.backend} does not preprocess camera frames; preprocess them and call `submit`"
        )

    def infer(self, frames: NDArray[np.uint8]) -> Inspection:
        """Inspect preprocessed RGB uint8 frames `(N, *input_shape, 3)` and wait. Raises EngineError."""
        return self.submit(frames).result()

    @abstractmethod
    def close(self) -> None:
        """Release the network's memory. Calling it twice is harmless."""

    def warmup(self, rounds: int = 3) -> None:
        """Run grey frames, so that the first real one does not pay for lazy allocation."""
        frame = np.full((1, *self.input_shape, 3), 127, np.uint8)
        for _ in range(rounds):
            self.infer(frame)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_frames(frames: NDArray[np.uint8], shape: tuple[int, int]) -> None:
    """Refuse what is not uint8 of shape `(N, *shape, 3)` with N at least 1. Raises EngineError."""
    if not isinstance(frames, np.ndarray):
        raise EngineError(f"expected frames as a numpy array, found {type(frames).__name__}")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (*shape, 3) or not len(frames):
        raise EngineError(
            f"expected frames as uint8 of shape (N, {shape[0]}, {shape[1]}, 3) with N at least 1, found "
            f"{frames.dtype} of shape {frames.shape}; pass frames through the bundle's preprocessing and stack them"
        )
