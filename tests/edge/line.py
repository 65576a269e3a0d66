"""Simulated lines for the tests: triggered cameras that misbehave as they are told, and an engine that hesitates."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from edge.cameras.camera import Camera, Capabilities, Frame, Shutter, Triggering
from engines.engine import Engine, Inspection, Pending
from engines.errors import CameraError

Fate = str
"""What becomes of one part's picture: ok, lost, twice, torn, late (after the next one), gone (the camera goes away)."""


class SimulatedCamera(Camera):
    """Takes picture k of `images` (in turns) for part k, and does to it what `fates` says; then all goes well."""

    name = "simulated camera"

    def __init__(self, triggering: Triggering, images: Sequence[NDArray[np.uint8]], fates: Sequence[Fate]) -> None:
        self.capabilities = Capabilities(free_running=False, triggering=triggering)
        self._images = images
        self._fates = fates
        self._shutter = Shutter()
        self._ready: SimpleQueue[Frame] = SimpleQueue()
        self._held: list[Frame] = []
        self._gone = False
        self.hanging: threading.Event | None = None

    def open(self) -> None:
        self._gone = False

    def trigger(self, trigger_id: int) -> None:
        """With software triggers the pipeline calls it, else the test, as the light barrier."""
        fate = self._fates[trigger_id - 1] if trigger_id <= len(self._fates) else "ok"
        if fate == "gone":
            self._gone = True
            raise CameraError("the cable was pulled")
        self._shutter.press()
        image = None if fate == "torn" else self._images[trigger_id % len(self._images)]
        frame = self._shutter.frame(image, fault="incomplete: 3 packets are missing" if fate == "torn" else "")
        frame = Frame(frame.frame_id, image, frame.captured_ns, frame.captured_at, 0.1, None, trigger_id, frame.fault)
        if fate == "late":
            self._held.append(frame)
            return
        for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
            self._ready.put(frame)
        while self._held:
            self._ready.put(self._held.pop())

    def read(self, timeout_s: float) -> Frame | None:
        if self._gone:
            raise CameraError("the cable was pulled")
        if self.hanging is not None:
            self.hanging.wait(60.0)
        try:
            return self._ready.get(timeout=timeout_s) if timeout_s else self._ready.get_nowait()
        except Empty:
            return None

    def close(self) -> None:
        while not self._ready.empty():
            self._ready.get()
        self._held.clear()


class Hesitant(Engine):
    """A real engine that now and then takes a break before it accepts a frame."""

    def __init__(self, engine: Engine, pause_s: Callable[[int], float]) -> None:
        self.description, self.input_size, self.in_flight = engine.description, engine.input_size, engine.in_flight
        self._engine = engine
        self._pause_s = pause_s
        self._frames = 0

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        self._frames += 1
        time.sleep(self._pause_s(self._frames))
        return self._engine.submit(frames)

    def close(self) -> None:
        """It belongs to somebody else."""


class Withholding(Hesitant):
    """A real engine that keeps its results to itself until `event`."""

    def __init__(self, engine: Engine, event: threading.Event) -> None:
        super().__init__(engine, lambda _: 0.0)
        self._event = event

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        return _Withheld(super().submit(frames), self._event)


class _Withheld(Pending):
    def __init__(self, pending: Pending, event: threading.Event) -> None:
        self._pending = pending
        self._event = event

    def result(self) -> Inspection:
        self._event.wait(60.0)
        return self._pending.result()
