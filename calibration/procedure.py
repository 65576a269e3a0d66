"""Calibration step by step: score good parts, set the thresholds, choose golden parts, measure parity, store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import msgspec
import numpy as np

from calibration.escapes import Costs, weigh
from calibration.folds import OutOfFold
from calibration.golden import choose_golden, golden_tolerance
from calibration.guarantee import guarantee
from calibration.guard_fitting import FEWEST_PARTS, FittedGuards, fit_guards, gather_witnesses
from calibration.labels import Labels
from calibration.parity import measure_parity
from calibration.parts import GoodParts
from calibration.scoring import Parts, PartScores, Progress, inspect_part, score_parts
from calibration.severity import fit_scale, measure_exceedance
from calibration.threshold import Goal, Threshold, conformal_threshold, set_threshold
from engines.bundle import Bundle, Calibration, Escapes, GoldenPart, Parity, update_bundle
from engines.engine import Engine
from engines.errors import EngineError
from engines.registry import available_backends, open_engine

REFERENCE = ("onnxruntime", "f32")


@dataclass(frozen=True)
class Defects:
    """Photographs of defects, and what wrong verdicts cost, where that shall move the threshold."""

    parts: Parts
    costs: Costs | None = None


def calibrate(
    bundle: Bundle,
    engine: Engine,
    parts: Parts,
    goal: Goal | float,
    progress: Progress | None = None,
    lots: Sequence[str] | None = None,
    defects: Defects | None = None,
    out_of_fold: OutOfFold | None = None,
) -> Bundle:
    """Set the bundle's threshold for `engine` from good parts that were not trained on, and store it.

    A rate alone will do as `goal`; `lots` names each part's lot. Parts that were trained on need scores `out_of_fold`:
    those set the thresholds then, and the parts themselves the golden parts, parity and guards. An earlier calibration
    of the same backend and precision is replaced, those of others stay; the new one comes last.
    Raises CalibrationError, EngineError or BundleError, and then leaves the bundle as it was.
    """
    goal = goal if isinstance(goal, Goal) else Goal(goal)
    goal.check()
    own = score_parts(engine, parts, progress)
    scores, folds = (out_of_fold.aligned(own), len(out_of_fold.heads)) if out_of_fold else (own, None)
    threshold, escapes = replace(set_threshold(scores.scores, goal, lots), folds=folds), None
    if defects:
        found = score_parts(engine, defects.parts, progress).scores
        value, escapes = weigh(scores.scores, found, threshold.value, defects.costs)
        threshold = replace(threshold, value=value)
    parity = compare_engines(bundle, engine, parts, threshold.value, progress)
    calibration = describe(engine, scores, own, threshold, goal, parity, escapes)
    golden = [parts[index] for index in choose_golden(own.scores)]
    fitted = _fit_guards(engine, parts, own, goal.false_reject_rate, lots, progress)
    return store(bundle, calibration, golden, fitted)


def _fit_guards(
    engine: Engine,
    parts: Parts,
    scores: PartScores,
    false_alarm_rate: float,
    lots: Sequence[str] | None,
    progress: Progress | None,
) -> FittedGuards | None:
    """Guards that together stop no more good parts than the score may reject; None where the parts are too few."""
    if len(parts) < FEWEST_PARTS:
        return None
    witnesses = gather_witnesses(engine, parts, scores.embeddings, progress)
    return fit_guards([witnesses[index] for index in _as_photographed(parts, lots)], false_alarm_rate)


def _as_photographed(parts: Parts, lots: Sequence[str] | None) -> Sequence[int]:
    """The parts in the order in which they were photographed, as far as lots and file names tell."""
    names = [path.as_posix() for path in parts.paths] if isinstance(parts, GoodParts) else [""] * len(parts)
    return sorted(range(len(parts)), key=lambda index: (lots[index] if lots else "", names[index]))


def grade(bundle: Bundle, engine: Engine, labels: Labels, progress: Progress | None = None) -> Bundle:
    """Fit the bundle's severity scale to graded photographs, for its latest calibration, which is `engine`'s.

    Raises DataError, CalibrationError, EngineError or BundleError, and then leaves the bundle as it was.
    """
    calibration = bundle.latest_calibration
    parts = GoodParts(labels.paths, bundle.info.preprocessing)
    measured = []
    for index in range(len(parts)):
        found = inspect_part(engine, parts, index, parts[index])
        limits = calibration.threshold, calibration.map_threshold
        measured.append(measure_exceedance(float(found.scores[0]), found.maps[0], *limits))
        if progress:
            progress("measuring", index + 1, len(parts))
    scale = fit_scale(measured, labels.grades, calibration)
    return update_bundle(bundle, msgspec.structs.replace(bundle.info, severity=scale))


def compare_engines(
    bundle: Bundle, engine: Engine, parts: Parts, threshold: float, progress: Progress | None = None
) -> tuple[Parity, ...]:
    """Measure the parity of `engine`, and of every other engine that runs the bundle here, with the reference.

    The reference, float32 ONNX Runtime, is not compared with itself. Raises EngineError where it cannot run.
    """
    with ExitStack() as stack:
        opened = {_name(engine): engine}
        for name in (REFERENCE, *available_engines()):
            if name in opened:
                continue
            try:
                opened[name] = stack.enter_context(open_engine(bundle, *name))
            except EngineError:
                # One that was not asked for need not run this bundle; it is then missing from the table.
                if name == REFERENCE:
                    raise
        reference = opened.pop(REFERENCE)
        return measure_parity(reference, list(opened.values()), parts, threshold, progress) if opened else ()


def available_engines() -> list[tuple[str, str]]:
    """Backend and precision of every engine of this machine."""
    usable = [(status.name, status.probe) for status in available_backends() if status.probe]
    return [(backend, precision) for backend, probe in usable for precision in probe.precisions]


def describe(
    engine: Engine,
    scores: PartScores,
    own: PartScores,
    threshold: Threshold,
    goal: Goal,
    parity: tuple[Parity, ...],
    escapes: Escapes | None = None,
) -> Calibration:
    """Put together what the bundle will say: thresholds and their promise, golden parts and their tolerance.

    `own` are the scores that `engine` itself gave the parts, for the golden ones. The map's threshold follows the same
    rule on the peak of each part's map, so that at most the same share of good parts shows a region, however many
    pixels a map has.
    """
    backend, precision = _name(engine)
    golden = choose_golden(own.scores)
    return Calibration(
        backend=backend,
        device=engine.description.device,
        precision=precision,
        versions=dict(engine.description.versions),
        false_reject_rate=goal.false_reject_rate,
        threshold=threshold.value,
        map_threshold=conformal_threshold(scores.map_peaks, goal.false_reject_rate).value,
        parts=threshold.parts,
        certified_rate=threshold.certified_rate,
        guarantee=guarantee(threshold, goal),
        golden=tuple(
            GoldenPart(f"{backend}-{precision}-{rank}.png", float(own.scores[index]))
            for rank, index in enumerate(golden)
        ),
        golden_tolerance=golden_tolerance(own.scores, (backend, precision), parity),
        parity=parity,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        method=threshold.method,
        confidence=threshold.confidence,
        lots=threshold.lots,
        interval=threshold.interval,
        scores=tuple(np.sort(scores.scores).tolist()),
        review_above=threshold.review_above,
        escapes=escapes,
        folds=threshold.folds,
    )


def store(bundle: Bundle, calibration: Calibration, golden: Parts, fitted: FittedGuards | None = None) -> Bundle:
    """Write a calibration, its golden frames in its order, and its guards into the bundle in one step."""
    name = (calibration.backend, calibration.precision)
    others = (entry for entry in bundle.info.calibrations if (entry.backend, entry.precision) != name)
    if fitted is not None:
        calibration = msgspec.structs.replace(calibration, guards=fitted.guards)
    info = msgspec.structs.replace(bundle.info, calibrations=(*others, calibration))
    frames = {part.file: golden[index] for index, part in enumerate(calibration.golden)}
    return update_bundle(bundle, info, frames, {calibration.guards_file: fitted.model.encode()} if fitted else None)


def _name(engine: Engine) -> tuple[str, str]:
    return engine.description.backend, engine.description.precision
