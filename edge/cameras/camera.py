"""What every source of frames offers to the pipeline."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """One picture of one part, or the news that it could not be taken.

    `image` is uint8, BGR `(H, W, 3)` or grey `(H, W)`; None where `fault` says why there is none.
    `captured_ns` is the monotonic clock, `captured_at` the wall clock (seconds since 1970) of the same moment;
    `capture_ms` is the time it took to read and decode.
    """

    frame_id: int
    image: NDArray[np.uint8] | None
    captured_ns: int
    captured_at: float
    capture_ms: float
    part_id: str | None = None
    trigger_id: int | None = None
    fault: str = ""


@dataclass(frozen=True)
class Capabilities:
    """`free_running`: frames come whether anybody is ready or not, so the newest one wins; else each one counts."""

    free_running: bool


class Camera(ABC):
    """A source of frames. Used by one thread; may be opened again after `close`, and goes on where it was."""

    name: str
    capabilities: Capabilities

    @abstractmethod
    def open(self) -> None:
        """Acquire the device. Raises CameraError where it is absent or refuses."""

    @abstractmethod
    def read(self, timeout_s: float) -> Frame | None:
        """Take the next frame, or None when none came within about `timeout_s`.

        A part that is there but cannot be read is a Frame with a `fault`. Raises CameraError when the source is lost.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the device. Calling it twice, or without `open`, is harmless."""

    @property
    def exhausted(self) -> bool:
        """Whether no frame can ever follow, as at the end of a file."""
        return False


class Shutter:
    """Stamps frames: numbers them from 1 and measures how long each took."""

    def __init__(self) -> None:
        self._frame_id = 0
        self._ns = 0
        self._wall = 0.0

    def press(self) -> None:
        """Mark the moment of capture."""
        self._ns, self._wall = time.monotonic_ns(), time.time()

    def frame(self, image: NDArray[np.uint8] | None, part_id: str | None = None, fault: str = "") -> Frame:
        """Make the frame of the moment marked last."""
        self._frame_id += 1
        elapsed_ms = (time.monotonic_ns() - self._ns) / 1e6
        return Frame(self._frame_id, image, self._ns, self._wall, elapsed_ms, part_id=part_id, fault=fault)
