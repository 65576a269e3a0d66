"""What every source of frames offers to the pipeline."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from engines.errors import CameraError


@dataclass(frozen=True)
class Frame:
    """One picture of one part, or the news that it could not be taken.

    `image` is uint8, BGR `(H, W, 3)` or grey `(H, W)`; None where `fault` says why there is none.
    `captured_ns` is the monotonic clock, `captured_at` the wall clock (seconds since 1970) of the same moment;
    `capture_ms` is the time it took to read and decode. `missed` frames were lost before this one, where the source
    numbers its frames and none of them was a part that somebody waits for.

    Of a triggered camera `trigger_id` is the id that `Camera.trigger` was given, or with hardware triggers the camera's
    own number, unwrapped. `encoder` is the count of the line's encoder, `triggered_ns` the monotonic clock of the
    trigger, as far as they are known. A trigger whose frame never came is a Frame with the `frame_id` 0.
    """

    frame_id: int
    image: NDArray[np.uint8] | None
    captured_ns: int
    captured_at: float
    capture_ms: float
    part_id: str | None = None
    trigger_id: int | None = None
    fault: str = ""
    missed: int = 0
    encoder: int | None = None
    triggered_ns: int | None = None


class Triggering(str, Enum):
    """What has a camera take a frame: its own clock (or a writer), `Camera.trigger`, or an electric signal."""

    NONE = "none"
    SOFTWARE = "software"
    HARDWARE = "hardware"


@dataclass(frozen=True)
class Capabilities:
    """`free_running`: frames come whether anybody is ready or not, so the newest one wins; else each one counts."""

    free_running: bool
    triggering: Triggering = Triggering.NONE


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

    def trigger(self, trigger_id: int) -> None:
        """Have one frame taken; the frame that `read` returns for it carries `trigger_id`.

        Raises CameraError where the camera is lost, or takes no software trigger.
        """
        raise CameraError(f"{self.name} takes no software trigger")

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

    def press(self, ago_s: float = 0.0) -> None:
        """Mark the moment of capture, which is now or was some seconds ago."""
        self._ns, self._wall = time.monotonic_ns() - round(ago_s * 1e9), time.time() - ago_s

    def frame(
        self,
        image: NDArray[np.uint8] | None,
        part_id: str | None = None,
        fault: str = "",
        trigger_id: int | None = None,
        missed: int = 0,
    ) -> Frame:
        """Make the frame of the moment marked last."""
        self._frame_id += 1
        elapsed_ms = (time.monotonic_ns() - self._ns) / 1e6
        return Frame(
            self._frame_id, image, self._ns, self._wall, elapsed_ms, part_id, trigger_id, fault=fault, missed=missed
        )
