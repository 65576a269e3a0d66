"""How many frames an engine should work on side by side: measured, because libraries and processors differ."""

from __future__ import annotations

import os
import time
from collections import deque

import numpy as np

from engines.bundle import Bundle
from engines.engine import Engine, Pending
from engines.registry import GPU_BACKENDS, open_engine

# A frame takes longer the more are worked on beside it, so more are only worth it for clearly more frames a second.
WORTH_IT = 1.05
_MEASURED_S = 1.0
_WINDOWS = 5
_LEAST_FRAMES = 3
_WARMUP_FRAMES = 3
_MOST_ON_GPU = 4


def best_in_flight(bundle: Bundle, backend: str, precision: str) -> tuple[int, str]:
    """Measure 1, 2, 4 and so on up to the number of cores, or up to 4 on a GPU, and say what was found.

    Takes a second or two a try. Raises EngineError.
    """
    rates = {}
    # The processor's cores say nothing of a GPU, where each frame in flight holds memory of its own.
    most = _MOST_ON_GPU if backend in GPU_BACKENDS else len(os.sched_getaffinity(0))
    for in_flight in candidates(most):
        with open_engine(bundle, backend, precision, in_flight) as engine:
            rates[in_flight] = frame_rate(engine)
    best = choose(rates)
    found = ", ".join(f"{rate:.0f} frames/s with {number}" for number, rate in rates.items())
    return best, f"{best} in flight ({found})"


def candidates(cores: int) -> list[int]:
    """Powers of two below the number of cores, and that number."""
    return [*(1 << power for power in range(cores.bit_length()) if 1 << power < cores), cores]


def choose(rates: dict[int, float]) -> int:
    """The smallest number whose rate is within `WORTH_IT` of the best one."""
    best = max(rates.values())
    return min(number for number, rate in rates.items() if rate * WORTH_IT >= best)


def frame_rate(engine: Engine, seconds: float = _MEASURED_S) -> float:
    """Frames a second of an engine that is never left waiting."""
    frame = np.full((1, *engine.input_shape, 3), 127, np.uint8)
    running: deque[Pending] = deque(engine.submit(frame) for _ in range(engine.in_flight))

    def measure(least: int, limit_s: float) -> float:
        began, done = time.perf_counter(), 0
        while done < least or time.perf_counter() - began < limit_s:
            running.append(engine.submit(frame))
            running.popleft().result()
            done += 1
        return done / (time.perf_counter() - began)

    measure(_WARMUP_FRAMES * engine.in_flight, 0.0)
    # The best of several windows, because what else the machine does can only slow it.
    rate = max(measure(_LEAST_FRAMES, seconds / _WINDOWS) for _ in range(_WINDOWS))
    for pending in running:
        pending.result()
    return rate
