"""Guards: whether the picture is one that the calibration speaks of, so that its score is worth something.

Each guard is one number a part, higher is worse, with a limit that good parts set (`guard_fitting.py`). They need
nothing but the preprocessed frame, its embedding and numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.bundle import Bundle, Calibration, Guard
from engines.errors import BundleError
from engines.tensors import decode_tensors, encode_tensors

# In the order in which they are named: a black picture is also another part, but that is not what to look for.
GUARDS = ("under_exposed", "over_exposed", "light_changed", "blurred", "camera_moved", "wrong_part")
SIDE = 32
PLACE = 24
CELLS = 2
_DARK, _BRIGHT = 12, 250
# A defect makes a part unlike good ones, too. On three real products the distance of 99 % of defective parts was below
# 1.2 to 2.7 times the limit, that of 99 % of parts of another product above 3.2 times.
FOREIGN = 3.0

Array = NDArray[np.float32]

_SENTENCES = {
    "under_exposed": "{value:.0%} of the picture is black (limit {limit:.0%}): look for a lens cap, a dead light, a "
    "short exposure",
    "over_exposed": "{value:.0%} of the picture is saturated (limit {limit:.0%}): look at light and exposure",
    "light_changed": "the picture's brightness differs from that of good parts by {value:.2g} stops (limit "
    "{limit:.2g}): look at light and exposure",
    "blurred": "a part of the picture is blurred, 1/{value:.2g} of the usual detail (limit 1/{limit:.2g}): look at the "
    "lens, its focus and dirt on it",
    "camera_moved": "the part lies {value:.1%} of the picture beside its usual place (limit {limit:.1%}): look at the "
    "camera and the fixture",
    "wrong_part": "the picture as a whole is unlike good parts, distance {value:.3g} (limit {limit:.3g}): look "
    "whether it is the right part",
}


@dataclass(frozen=True)
class Look:
    """What the guards take from one preprocessed frame: its brightness, detail, and a small picture of it.

    `place` float32 `(2 * PLACE * PLACE,)` is a small picture and the steepness of its grey levels, each with mean 0 and
    deviation 1; `brightness` is in stops (log2 of grey levels); `blur` `(CELLS * CELLS,)` is the natural logarithm of
    a cell's coarse contrast over its finest detail.
    """

    place: Array
    brightness: float
    dark: float
    bright: float
    blur: NDArray[np.float64]


def look_at(frame: NDArray[np.uint8]) -> Look:
    """Look at one preprocessed frame, RGB uint8 `(H, W, 3)`. Takes about a tenth of a millisecond."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Look(
        place=_place(grey),
        brightness=float(np.log2(small.mean() + 1)),
        dark=np.count_nonzero(grey <= _DARK) / grey.size,
        bright=np.count_nonzero(grey >= _BRIGHT) / grey.size,
        blur=_blur(grey, small),
    )


def _place(grey: NDArray[np.uint8]) -> Array:
    small = cv2.resize(grey, (PLACE, PLACE), interpolation=cv2.INTER_AREA).astype(np.float32)
    steepness = cv2.magnitude(cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1))
    # Four grey levels more, so that an empty picture's noise is not blown up to a pattern.
    return np.concatenate([((half - half.mean()) / (half.std() + 4)).ravel() for half in (small, steepness)])


def _blur(grey: NDArray[np.uint8], small: Array) -> NDArray[np.float64]:
    laplacian = cv2.Laplacian(grey, cv2.CV_32F)
    detail = cv2.resize(cv2.multiply(laplacian, laplacian), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    side = SIDE // CELLS
    contrast = small.reshape(CELLS, side, CELLS, side).var(axis=(1, 3), dtype=np.float64)
    # Sums that keep an empty cell from deciding by its last bit.
    return np.log((contrast + 1) / (detail + 0.1)).ravel()


_SHAPES = {"brightness": (1,), "blur": (CELLS * CELLS,), "shift_weights": (2 * PLACE * PLACE, 2), "shift_offset": (2,)}


@dataclass(frozen=True)
class GuardModel:
    """What good parts look like, all float32.

    `brightness` `(1,)` and `blur` `(CELLS * CELLS,)` are medians. `shift_weights` `(2 * PLACE * PLACE, 2)` and
    `shift_offset` `(2,)` estimate from a picture how far, in shares of its sides, the part lies right of and below its
    usual place. `mean` `(C,)`, `axes` `(K, C)`, orthonormal, `variances` `(K,)` and `rest` `(1,)` are a Gaussian of
    the embeddings: variances along the axes, and across all of them.
    """

    brightness: Array
    blur: Array
    shift_weights: Array
    shift_offset: Array
    mean: Array
    axes: Array
    variances: Array
    rest: Array

    def measures(self, look: Look, embedding: Array) -> NDArray[np.float64]:
        """The number of each of `GUARDS`, float64 `(6,)`."""
        signed = self.signed(look)
        return np.asarray(
            [
                look.dark,
                look.bright,
                abs(signed["light_changed"][0]),
                np.exp(signed["blurred"].max()),
                np.hypot(*signed["camera_moved"]),
                self.distance(embedding),
            ],
            np.float64,
        )

    def signed(self, look: Look) -> dict[str, NDArray[np.float64]]:
        """Of each guard against what stays, its numbers with their signs: what a mean over many parts is taken of.

        `light_changed` stops brighter `(1,)`, `blurred` logarithms `(CELLS * CELLS,)`, `camera_moved` shares of the
        picture to the right and down `(2,)`.
        """
        return {
            "light_changed": np.asarray([look.brightness - float(self.brightness[0])]),
            "blurred": look.blur - self.blur,
            "camera_moved": np.asarray(look.place @ self.shift_weights + self.shift_offset, np.float64),
        }

    def distance(self, embedding: Array) -> float:
        """Mahalanobis distance of an embedding `(C,)` from those of good parts."""
        offset = embedding - self.mean
        along = self.axes @ offset
        across = float(offset @ offset) - float(along @ along)
        return float(np.sqrt((along**2 / self.variances).sum() + max(across, 0.0) / self.rest[0]))

    def encode(self) -> bytes:
        """The bytes of the bundle's file."""
        return encode_tensors({field.name: getattr(self, field.name) for field in fields(self)})


def decode_model(data: bytes, name: str) -> GuardModel:
    """Decode a bundle's file; `name` is for the message. Raises BundleError."""
    tensors = decode_tensors(data, name)
    expected = {field.name for field in fields(GuardModel)}
    if set(tensors) != expected:
        raise BundleError(f"{name}: expected the arrays {sorted(expected)}, found {sorted(tensors)}; calibrate again")
    for field_name, shape in _SHAPES.items():
        if (found := tensors[field_name].shape) != shape:
            raise BundleError(
                f"{name}: expected {field_name} of shape {shape}, found {found}, as another version of edge-inspect "
                "fits it; calibrate again"
            )
    return GuardModel(**tensors)


@dataclass(frozen=True)
class Examination:
    """What guards say of one picture.

    `objection` says why its score is not to be trusted; empty where no armed guard objects. `unusual` are the guards,
    armed or not, whose number is among the highest tenth of good parts: many in a row are drift. `signed` is what the
    control charts count, by guard; None where it is another part, and not the right one in a poor picture.
    """

    objection: str
    unusual: tuple[str, ...]
    signed: Mapping[str, NDArray[np.float64]] | None = None


class Guards:
    """The guards of one calibration: `limits` of those that are armed, `tails` of all, by name."""

    def __init__(self, model: GuardModel, limits: Mapping[str, float], tails: Mapping[str, float]) -> None:
        self._model = model
        self._limits = limits
        self._tails = tails

    @classmethod
    def of(cls, bundle: Bundle, calibration: Calibration) -> Guards | None:
        """Those of a bundle's calibration; None where it has none. Raises BundleError."""
        if not calibration.guards:
            return None
        model = decode_model(bundle.read_guards(calibration), f"{bundle.path}: guards")
        return cls.fitted(model, calibration.guards)

    @classmethod
    def fitted(cls, model: GuardModel, guards: Sequence[Guard]) -> Guards:
        """Those of a model with the limits that were fitted with it."""
        limits = {guard.name: guard.limit for guard in guards if guard.armed}
        return cls(model, limits, {guard.name: guard.tail for guard in guards})

    def examine(self, frame: NDArray[np.uint8], embedding: Array, rejected: bool = False) -> Examination:
        """Look at a preprocessed frame, RGB uint8 `(H, W, 3)`, and its embedding, float32 `(C,)`.

        Of a part that the score has `rejected`, `wrong_part` objects only from `FOREIGN` times its limit on: nearer, it
        is a defect.
        """
        look, leniency = look_at(frame), FOREIGN if rejected else 1.0
        values = dict(zip(GUARDS, self._model.measures(look, embedding).tolist(), strict=True))
        # What is not finite is above any limit.
        unusual = tuple(name for name, tail in self._tails.items() if not values[name] <= tail)
        limits = {name: limit * (leniency if name == "wrong_part" else 1.0) for name, limit in self._limits.items()}
        tripped = [name for name in GUARDS if name in limits and not values[name] <= limits[name]]
        foreign = values["wrong_part"] > FOREIGN * self._limits.get("wrong_part", np.inf)
        return Examination(_objection(tripped, values, limits), unusual, None if foreign else self._model.signed(look))


def _objection(tripped: Sequence[str], values: Mapping[str, float], limits: Mapping[str, float]) -> str:
    if not tripped:
        return ""
    first = tripped[0]
    sentence = _SENTENCES[first].format(value=values[first], limit=limits[first])
    others = f" (so do {', '.join(tripped[1:])})" if tripped[1:] else ""
    return f"guard {first}: {sentence}{others}"
