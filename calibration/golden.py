"""Golden parts: a few good parts kept in the bundle, replayed before the daemon arms.

A threshold belongs to one engine at one precision. Replaying shows that the engine at hand still is the one that was
calibrated: another precision, an altered network or a library that computes otherwise shifts the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.scoring import inspect_one
from engines.bundle import Bundle, Calibration, Parity
from engines.engine import Engine

GOLDEN_PARTS = 8


@dataclass(frozen=True)
class GateResult:
    """Whether an engine reproduces its calibration. `worst_drift` and `tolerance` are in units of the score.

    `quiet` is the middle value of the golden parts' maps, where a heat map has no colour; None without golden parts.
    """

    passed: bool
    worst_drift: float
    tolerance: float
    reason: str
    quiet: float | None = None


def choose_golden(scores: NDArray[np.float32], count: int = GOLDEN_PARTS) -> tuple[int, ...]:
    """Choose parts spread evenly over the ranks of the scores `(N,)`: the lowest, the quantiles and the highest.

    Returns at most `count` indices, in the order of their scores.
    """
    order = np.argsort(scores, kind="stable")
    ranks = np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)
    return tuple(int(index) for index in order[ranks])


def golden_tolerance(scores: NDArray[np.float32], engine: tuple[str, str], parity: Sequence[Parity]) -> float:
    """How far a golden part's score may drift, in units of the score.

    `scores` are those of all calibration parts; `engine` is their backend and precision, looked up in `parity`.
    """
    # Measured with ResNet-18 on two real products, 60 parts each, in shares of the standard deviation of the scores.
    # Largest error against float32 ONNX Runtime: OpenVINO f32 0.00001, f16 0.012, bf16 0.09 and 0.12. Run again, every
    # engine gave the same bits. With the kernels of lesser CPUs (ONEDNN_MAX_CPU_ISA) f32 gave the same bits, bf16 moved
    # golden parts by up to 0.8 of its error (one step of a bf16 score), and "f16" became bf16: by 5 to 11 of its error.
    # So for f32 a thousandth of the deviation lies far above what libraries and CPUs differ by and a tenth below a
    # lower precision. For the others twice their own error: two CPUs that are each that far from f32 are at most twice
    # as far from each other. int8 computes the same integers everywhere; with the rest in f32 instead of bf16, as on a
    # CPU without AMX, it moved by half to two thirds of its error, so once its error. Parts that score alike have no
    # deviation: SimpleNet's loss puts scores at +-0.5, where float32 errs by 0.00001.
    floor = max(1e-3 * float(scores.std(dtype=np.float64)), 1e-4)
    if engine[1] == "f32":
        return floor
    factor = 1 if engine[1] == "int8" else 2
    errors = [row.max_score_error for row in parity if (row.backend, row.precision) == engine]
    return max([floor, *(factor * error for error in errors)])


def check_parity(engine: Engine, bundle: Bundle, calibration: Calibration) -> GateResult:
    """Replay the golden parts of `calibration` through `engine` and compare the scores with the calibrated ones.

    The engine's backend and precision must be the calibration's. Raises BundleError and EngineError.
    """
    return compare_golden(engine, bundle.golden_frames(calibration), calibration)


def compare_golden(engine: Engine, frames: NDArray[np.uint8], calibration: Calibration) -> GateResult:
    """The same with the golden parts' frames `(G, H, W, 3)` at hand, in the calibration's order. Raises EngineError."""
    tolerance = calibration.golden_tolerance
    expected = np.asarray([part.score for part in calibration.golden])
    scores, quiet = replay(engine, frames)
    drifts = np.abs(scores - expected)
    # A score that is not finite is further away than any number.
    drifts[~np.isfinite(drifts)] = np.inf
    worst = float(drifts.max(initial=0.0))
    reason = _objection(engine, calibration, drifts)
    within = f"{len(drifts)} golden parts within {tolerance:.3g}"
    return GateResult(not reason, worst, tolerance, reason or within, quiet)


def replay(engine: Engine, frames: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float | None]:
    """Scores of frames `(N, H, W, 3)`, float64 of shape `(N,)`, and the middle value of their maps."""
    found = [inspect_one(engine, frame) for frame in frames]
    # Of each map first: they may be large, and many.
    quiet = float(np.median([np.median(each.maps[0]) for each in found])) if found else None
    return np.asarray([each.scores[0] for each in found], np.float64), quiet


def _objection(engine: Engine, calibration: Calibration, drifts: NDArray[np.float64]) -> str:
    found = (engine.description.backend, engine.description.precision)
    expected = (calibration.backend, calibration.precision)
    if found != expected:
        return f"the engine is {' '.join(found)}, the calibration is for {' '.join(expected)}; calibrate this engine"
    if not drifts.size:
        return "the calibration has no golden parts to replay; calibrate again"
    if drifts.max() <= calibration.golden_tolerance:
        return ""
    part = calibration.golden[int(drifts.argmax())]
    return (
        f"golden part {part.file} was calibrated at {part.score:.6g} and has drifted by {drifts.max():.3g}, more than "
        f"{calibration.golden_tolerance:.3g}: this engine does not compute what was calibrated; calibrate it again"
    )
