"""A camera that does not exist: drawn parts at a rate, for rehearsals, tests and benchmarks."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter, Triggering
from edge.cameras.tables import SyntheticCamera

# Frames that a triggered camera keeps until they are read, as a driver's buffers do.
BUFFERS = 32


class Synthetic(Camera):
    """Drawn parts. `part_id` tells the truth about each: product, number, and its defect or `good`.

    Free-running, frame k is there at k / rate and is gone when frame k + 1 is. With hardware triggers the light barrier
    fires at the rate, and up to 32 frames wait to be read; with software triggers a frame comes for each at once.
    """

    def __init__(self, table: SyntheticCamera, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"synthetic {table.product}"
        triggering = Triggering(table.trigger)
        self.capabilities = Capabilities(triggering is Triggering.NONE, triggering)
        self._table = table
        self._clock = clock
        self._shutter = Shutter()
        self._parts: list[tuple[NDArray[np.uint8], str]] = []
        self._triggers: deque[tuple[int, float]] = deque()
        self._began = math.nan
        self._next = 0

    def open(self) -> None:
        """Draw the parts, which takes seconds the first time, and start the clock."""
        self._parts = self._parts or _drawn(self._table)
        self._triggers.clear()
        self._began = self._clock() - (self._next + 1) / self._table.rate

    def trigger(self, trigger_id: int) -> None:
        """Have a frame taken now."""
        if self.capabilities.triggering is not Triggering.SOFTWARE:
            super().trigger(trigger_id)
        self._triggers.append((trigger_id, self._clock()))

    def read(self, timeout_s: float) -> Frame | None:
        """Take the next frame when it is due."""
        if self.capabilities.triggering is Triggering.SOFTWARE:
            return self._triggered(timeout_s)
        due = self._due(self._next)
        wait_s = due - self._clock()
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
        if wait_s > timeout_s:
            return None
        return self._newest() if self.capabilities.free_running else self._oldest(due)

    def close(self) -> None:
        """Stop the clock. Parts go on with the next number."""
        self._triggers.clear()

    def _due(self, number: int) -> float:
        return self._began + (number + 1) / self._table.rate

    def _newest(self) -> Frame:
        newest = max(math.floor((self._clock() - self._began) * self._table.rate) - 1, self._next)
        missed, self._next = newest - self._next, newest
        return self._frame(self._due(newest), missed=missed)

    def _oldest(self, due: float) -> Frame:
        waiting = math.floor((self._clock() - due) * self._table.rate)
        fault = f"overrun: {waiting} frames waited and the camera keeps {BUFFERS}" if waiting > BUFFERS else ""
        return self._frame(due, trigger_id=self._next + 1, fault=fault)

    def _triggered(self, timeout_s: float) -> Frame | None:
        if not self._triggers:
            time.sleep(timeout_s)
            return None
        trigger_id, at = self._triggers.popleft()
        return self._frame(at, trigger_id=trigger_id)

    def _frame(self, at: float, *, trigger_id: int | None = None, fault: str = "", missed: int = 0) -> Frame:
        image, truth = self._parts[self._next % len(self._parts)]
        self._next += 1
        self._shutter.press(self._clock() - at)
        part_id = f"{self._table.product}-{self._next:06d}-{truth}"
        return self._shutter.frame(None if fault else image, part_id, fault, trigger_id, missed)


def _drawn(table: SyntheticCamera) -> list[tuple[NDArray[np.uint8], str]]:
    from edge.demo.parts import defects_of, render_many

    names = defects_of(table.product)
    bad = [math.floor((k + 1) * table.defective) - math.floor(k * table.defective) for k in range(table.pictures)]
    defects = [names[sum(bad[:k]) % len(names)] if bad[k] else None for k in range(table.pictures)]
    return [
        (_sized(part.image, table), part.defect or "good") for part in render_many(table.product, table.seed, defects)
    ]


def _sized(image: NDArray[np.uint8], table: SyntheticCamera) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size = (table.width or width, table.height or height)
    return image if size == (width, height) else np.asarray(cv2.resize(image, size), np.uint8)
