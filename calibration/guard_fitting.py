"""Fitting guards to good parts: what they look like, limits with a certified false-alarm rate, and what is seen.

Every number behind a limit comes from a part that the model did not see (cross-validation), and so do the numbers of
disturbed parts: each good part is disturbed by what its guard is for, and a guard that misses that on this product is
not armed. Parts that lie in any position, for one, hide a moved camera.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration.chart_fitting import fit_chart
from calibration.charts import CHARTED
from calibration.drift import parts_in_tail
from calibration.guards import GUARDS, SIDE, GuardModel, Look, look_at
from calibration.scoring import Parts, Progress, inspect_one
from calibration.threshold import conformal_threshold
from engines.bundle import Chart, Guard
from engines.engine import Engine
from engines.errors import CalibrationError

FEWEST_PARTS = 20
FOLDS = 5
# A fault stays: one that a guard sees on every fourth part it sees within 16 parts in 99 of 100 cases.
ARMED_FROM = 0.25
SHIFT = 0.05
_MOST_AXES = 64
_MOST_SHIFTED = 300
_MOST_INFERRED = 24
_GRID = (-0.05, -0.025, 0.0, 0.025, 0.05)
_SHIFTS = [(x, y) for x in _GRID for y in _GRID][::2]
# Shares of the mean variance of a picture's pixels; of three real products two do better with the first.
_RIDGES = (0.1, 1.0)
# An estimate that hardly grows with the shift does not say how large it is.
_LEAST_GAIN = 0.1
# Shares of a picture that are no fault, however constant good parts are.
_FLOORS = {"under_exposed": 0.01, "over_exposed": 0.01}

Frame = NDArray[np.uint8]
Array = NDArray[np.float32]


def half_light(frame: Frame) -> Frame:
    """The picture at half the light."""
    return (frame * 0.5).astype(np.uint8)


def double_light(frame: Frame) -> Frame:
    """The picture at twice the light, saturated."""
    return np.minimum(frame.astype(np.uint16) * 2, 255).astype(np.uint8)


def covered(frame: Frame) -> Frame:
    """A lens cap: the sensor's noise on black."""
    noise = np.random.default_rng(0).normal(2.0, 1.5, frame.shape[:2])
    return np.repeat(np.clip(noise, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def smeared(frame: Frame) -> Frame:
    """A fingerprint on the lens: one corner, a quarter of the picture, blurred by 1 % of its shorter side."""
    height, width = frame.shape[:2]
    corner = slice(height // 2), slice(width // 2)
    found = frame.copy()
    found[corner] = cv2.GaussianBlur(frame, (0, 0), 0.01 * min(height, width))[corner]
    return found


def shifted(frame: Frame, right: float = SHIFT, down: float = 0.0) -> Frame:
    """The picture moved by shares of its sides; what comes in repeats its rim."""
    height, width = frame.shape[:2]
    matrix = np.float32([[1, 0, right * width], [0, 1, down * height]])  # type: ignore[arg-type]
    return np.asarray(cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def enlarged(frame: Frame) -> Frame:
    """Another part for want of one: the middle of the picture, half as large again."""
    height, width = frame.shape[:2]
    down, across = height // 6, width // 6
    return np.asarray(cv2.resize(frame[down : height - down, across : width - across], (width, height)), np.uint8)


DISTURBANCES: Mapping[str, tuple[str, Callable[[Frame], Frame]]] = {
    "under_exposed": ("a lens cap", covered),
    "over_exposed": ("twice the light", double_light),
    "light_changed": ("half the light", half_light),
    "blurred": ("a blurred quarter of the picture", smeared),
    "camera_moved": (f"a shift by {100 * SHIFT:.0f} % of the picture", shifted),
    "wrong_part": ("the part enlarged by half", enlarged),
}


@dataclass(frozen=True)
class Witness:
    """What fitting needs of one good part: its embedding, its look, its looks under each guard's disturbance.

    `shifts` are `Look.place` `(K, 2 * PLACE * PLACE)`, moved by each of the shifts that the shift estimate learns from.
    `other` is the embedding of the part under `wrong_part`'s disturbance, of the first parts alone.
    """

    embedding: Array
    look: Look
    disturbed: Mapping[str, Look]
    shifts: Array
    other: Array | None = None


@dataclass(frozen=True)
class FittedGuards:
    """A model of good parts, and of every guard its limit and what it sees."""

    model: GuardModel
    guards: tuple[Guard, ...]


def witness(frame: Frame, embedding: Array) -> Witness:
    """Take from one good part, RGB uint8 `(H, W, 3)`, what fitting needs."""
    small = cv2.resize(frame, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_AREA)
    return Witness(
        embedding=embedding.astype(np.float32),
        look=look_at(frame),
        disturbed={name: look_at(disturb(frame)) for name, (_, disturb) in DISTURBANCES.items()},
        shifts=np.stack([look_at(shifted(small, *by)).place for by in _SHIFTS]),
    )


def gather_witnesses(
    engine: Engine, parts: Parts, embeddings: Array, progress: Progress | None = None
) -> list[Witness]:
    """Take from N good parts, whose embeddings are `(N, C)`, what fitting needs; the first go through the engine."""
    found = []
    for index in range(len(parts)):
        one = witness(parts[index], embeddings[index])
        if index < _MOST_INFERRED:
            one = replace(one, other=inspect_one(engine, enlarged(parts[index])).embeddings[0].copy())
        found.append(one)
        if progress:
            progress("fitting guards", index + 1, len(parts))
    return found


def fit_guards(witnesses: Sequence[Witness], false_alarm_rate: float) -> FittedGuards:
    """Fit guards to at least `FEWEST_PARTS` good parts that were not trained on, in the order of their photographs.

    `false_alarm_rate` is for all guards together and shared out evenly. Raises CalibrationError for fewer parts.
    """
    if len(witnesses) < FEWEST_PARTS:
        raise CalibrationError(f"expected at least {FEWEST_PARTS} good parts to fit guards, found {len(witnesses)}")
    rate = false_alarm_rate / len(GUARDS)
    found = {ridge: _validated(witnesses, ridge) for ridge in _RIDGES}
    guards = {ridge: _guards(measured, rate) for ridge, measured in found.items()}
    ridge = max(_RIDGES, key=lambda each: guards[each][GUARDS.index("camera_moved")].seen)
    charted = (msgspec.structs.replace(guard, chart=_chart(guard.name, found[ridge])) for guard in guards[ridge])
    return FittedGuards(fit_model(witnesses, ridge), tuple(charted))


@dataclass(frozen=True)
class _Measured:
    """What models that did not see them say of N parts, as they are and under each guard's own disturbance.

    `good` and `disturbed` `(N, 6)` are the guards' numbers, NaN where unknown, `signed` and `signed_disturbed` their
    signed ones `(N, K)`. `gain` `(2,)` is by how much the estimate of a shift grows with the shift.
    """

    good: NDArray[np.float64]
    disturbed: NDArray[np.float64]
    signed: Mapping[str, NDArray[np.float64]]
    signed_disturbed: Mapping[str, NDArray[np.float64]]
    gain: NDArray[np.float64]


def _validated(witnesses: Sequence[Witness], ridge: float) -> _Measured:
    order = np.random.default_rng(0).permutation(len(witnesses))
    models: list[tuple[GuardModel, Witness]] = [None] * len(witnesses)  # type: ignore[list-item]
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        model = fit_model([witnesses[index] for index in np.setdiff1d(order, held)], ridge)
        for index in held:
            models[index] = model, witnesses[index]
    signed = [model.signed(one.look) for model, one in models]
    disturbed = {name: [model.signed(one.disturbed[name])[name] for model, one in models] for name in CHARTED}
    return _Measured(
        good=np.stack([model.measures(one.look, one.embedding) for model, one in models]),
        disturbed=np.stack([_under_disturbance(model, one) for model, one in models]),
        signed={name: np.stack([each[name] for each in signed]) for name in CHARTED},
        signed_disturbed={name: np.stack(rows) for name, rows in disturbed.items()},
        gain=np.mean([_gain(model, one) for model, one in models], axis=0),
    )


def _gain(model: GuardModel, one: Witness) -> NDArray[np.float64]:
    true = np.asarray(_SHIFTS)
    return np.asarray(((one.shifts @ model.shift_weights) * true).sum(axis=0) / (true**2).sum(axis=0))


def _guards(measured: _Measured, rate: float) -> list[Guard]:
    columns = zip(GUARDS, measured.good.T, measured.disturbed.T, strict=True)
    return [_guard(name, good, disturbed, rate) for name, good, disturbed in columns]


def _chart(name: str, measured: _Measured) -> Chart | None:
    if name not in CHARTED:
        return None
    signed = measured.signed[name]
    units = np.ones(signed.shape[1])
    if name == "camera_moved":
        units = 1 / np.maximum(measured.gain, _LEAST_GAIN)
    return fit_chart(name, signed, measured.signed_disturbed[name], units)


def fit_model(witnesses: Sequence[Witness], ridge: float = _RIDGES[0]) -> GuardModel:
    """Fit what good parts look like. `ridge` keeps the shift estimate from following single parts."""
    weights, offset = _fit_shift(witnesses[:: -(-len(witnesses) // _MOST_SHIFTED)], ridge)
    mean, axes, variances, rest = fit_gaussian(np.stack([one.embedding for one in witnesses]))
    return GuardModel(
        brightness=np.asarray([np.median([one.look.brightness for one in witnesses])], np.float32),
        blur=np.median([one.look.blur for one in witnesses], axis=0).astype(np.float32),
        shift_weights=weights,
        shift_offset=offset,
        mean=mean,
        axes=axes,
        variances=variances,
        rest=rest,
    )


def fit_gaussian(embeddings: Array) -> tuple[Array, Array, Array, Array]:
    """Mean `(C,)`, axes `(K, C)`, their variances `(K,)` and that across them `(1,)`, of embeddings `(N, C)`.

    The covariance is shrunk towards a multiple of the identity by Ledoit and Wolf's rule (2004, "A well-conditioned
    estimator for large-dimensional covariance matrices"), without which it has no inverse for N below C. It is kept
    along the axes of largest variance, and as its mean across them.
    """
    mean = embeddings.mean(axis=0, dtype=np.float64)
    centred = embeddings - mean
    count, size = centred.shape
    gram = centred @ centred.T / count  # has the eigenvalues of the covariance, and is the smaller one
    values, vectors = np.linalg.eigh(gram)
    keep = np.argsort(values)[::-1][: min(_MOST_AXES, count - 1)]
    keep = keep[values[keep] > 1e-12 * max(values.max(), 1e-300)]
    level = float(np.trace(gram)) / size
    spread = float((gram**2).sum()) - size * level**2
    noise = (float((np.diag(gram) ** 2).sum()) - float((gram**2).sum()) / count) if count > 1 else 0.0
    shrinkage = min(max(noise / spread, 0.0), 1.0) if spread > 0 else 1.0
    across = (float(np.trace(gram)) - values[keep].sum()) / max(size - len(keep), 1)
    axes = (centred.T @ vectors[:, keep] / np.sqrt(count * values[keep])).T
    variances = (1 - shrinkage) * values[keep] + shrinkage * level
    rest = max((1 - shrinkage) * across + shrinkage * level, 1e-12)
    return (
        mean.astype(np.float32),
        axes.astype(np.float32),
        variances.astype(np.float32),
        np.asarray([rest], np.float32),
    )


def _fit_shift(witnesses: Sequence[Witness], ridge: float) -> tuple[Array, Array]:
    """Ridge regression from a picture to its shift, learned from shifted good parts.

    Phase correlation with the mean picture, which has no orientation, saw none of the 5 % shifts of castings and screws
    that come in any; without the steepness of the grey levels it sees a tenth less of the castings'.
    """
    x = np.concatenate([one.shifts for one in witnesses]).astype(np.float64)
    y = np.tile(np.asarray(_SHIFTS), (len(witnesses), 1))
    mean, target = x.mean(axis=0), y.mean(axis=0)
    x -= mean
    covariance = x.T @ x
    covariance[np.diag_indices_from(covariance)] += ridge * max(np.trace(covariance) / len(x), 1e-9)
    weights = np.linalg.solve(covariance, x.T @ (y - target))
    # The usual place is that of the median part, undisturbed.
    usual = np.median([one.look.place @ weights for one in witnesses], axis=0)
    return weights.astype(np.float32), (-usual).astype(np.float32)


def _under_disturbance(model: GuardModel, one: Witness) -> NDArray[np.float64]:
    under = [model.measures(one.disturbed[name], one.embedding)[column] for column, name in enumerate(GUARDS)]
    under[GUARDS.index("wrong_part")] = np.nan if one.other is None else model.distance(one.other)
    return np.asarray(under)


def _guard(name: str, good: NDArray[np.float64], disturbed: NDArray[np.float64], rate: float) -> Guard:
    certified = conformal_threshold(good, rate)
    limit = max(certified.value, _FLOORS.get(name, 0.0))
    tried = disturbed[np.isfinite(disturbed)]
    reached = float(np.quantile(tried, 0.1))
    if name != "wrong_part" and reached > limit:
        # A higher limit keeps the promise: what lies between good parts and disturbed ones is shared between both.
        # Not for another part, of which an enlarged one is a poor stand-in.
        limit += (reached - limit) / 2
    seen = float(np.mean(tried > limit))
    above = parts_in_tail(len(good))
    return Guard(
        name=name,
        limit=limit,
        false_alarm_rate=certified.certified_rate,
        disturbance=DISTURBANCES[name][0],
        seen=seen,
        # An enlarged part says little of how other parts are seen, and there is nothing better to try.
        armed=seen >= ARMED_FROM or name == "wrong_part",
        tail=float(np.sort(good)[len(good) - 1 - above]),
    )
