"""The bundle: a directory with everything that inspects one product, the only thing that moves between machines.

Layout: `bundle.json` (BundleInfo), `model.onnx`, `head.safetensors`, `golden/*.png` (parts as the network saw them,
whose scores the calibrations know), `guards/*.safetensors` (what good parts look like to their guards),
`model-int8.onnx` where the network was quantised, and `MANIFEST.json` with the sha256 of every other file but
`SIGNATURE.json`, which signs the manifest (`signature.py`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from engines import atomic
from engines.bank import Bank
from engines.errors import BundleError, CalibrationError, PrecisionError
from engines.foreign import UNREADABLE
from engines.head import Head, decode_head, encode_head
from engines.preprocess import Preprocessing

SCHEMA = 2
_OLDEST_SCHEMA = 1

_MANIFEST = "MANIFEST.json"
_SIGNATURE = "SIGNATURE.json"
_LARGEST_SIGNATURE = 4096
_INFO = "bundle.json"
_MODEL = "model.onnx"
_INT8 = "model-int8.onnx"
_HEAD = "head.safetensors"
_GOLDEN = "golden/"
_GUARDS = "guards/"
_FOLDERS = (_GOLDEN, _GUARDS)
_REQUIRED = frozenset({_INFO, _MODEL, _HEAD})
_OPTIONAL = frozenset({_INT8})
_NETWORKS = {"f32": _MODEL, "int8": _INT8}
_FILE_NAME = re.compile(r"(golden/[A-Za-z0-9_][A-Za-z0-9_.-]*\.png|guards/[A-Za-z0-9_][A-Za-z0-9_-]*\.safetensors)")
_REPAIR = "copy the bundle again from where it was made, or train it again"


Method = Literal["conformal", "tolerance", "tail"]
"""How a threshold is set: conformal rule, tolerance limit, or a tail fitted to the largest scores (an estimate)."""


class BackboneInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which backbone, with which weights. `weights_source` is a file's name or a URL, never a machine's path."""

    name: str
    weights_sha256: str
    weights_source: str


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the head was trained on and how. `held_back` names the good images kept for calibration.

    `held_back` is relative to the data set's folder. `trained_on` holds `images.fingerprint` of every file trained
    on, so that calibration can refuse it. `created` is UTC in ISO 8601. `losses` is the mean loss of every epoch.
    """

    dataset_digest: str
    images: int
    held_back: tuple[str, ...]
    seed: int
    recipe: dict[str, str | int | float | bool]
    versions: dict[str, str]
    created: str
    trained_on: tuple[str, ...] = ()
    losses: tuple[float, ...] = ()


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far an engine is from the reference engine on `images` good parts, in units of the score.

    `score_spread` is the standard deviation of the reference's scores, the yardstick for both errors.
    """

    backend: str
    precision: str
    reference: str
    max_score_error: float
    max_map_error: float
    score_spread: float
    images: int
    verdict_flips: int


class GoldenPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A preprocessed part kept in the bundle as `golden/FILE`, and the score that the calibrated engine gave it."""

    file: str
    score: float


class Escapes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of `parts` labelled defects the threshold lets through, and the 95 % interval of their share.

    Where costs were named, `escape_cost` is an escape's in false rejects, `defect_rate` production's, `cheapest` the
    threshold that they alone would set, and `escaped_at_cheapest` what would have escaped there.
    """

    parts: int
    escaped: int
    interval: tuple[float, float]
    escape_cost: float | None = None
    defect_rate: float | None = None
    cheapest: float | None = None
    escaped_at_cheapest: int | None = None


class Chart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A guard's control chart: limits to the mean of its signed numbers over the last parts.

    Numbers are counted from `centre` in `spread`s, those of good parts, one of each a number, and no farther than
    `farthest` of them. `units` says what a spread is in the words of the reason. `limits` are in spreads, one for each
    of `calibration.charts.WINDOWS`. Of faulty parts 95 in 100 rows are stopped after `stops_within`; None where the
    longest window is too short for that.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    units: tuple[float, ...]
    farthest: float
    limits: tuple[float, ...]
    stops_within: int | None = None


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One guard's limit: a part with a larger number is NotDecidable, where the guard is armed.

    `false_alarm_rate` bounds the share, 0 to 1, of good parts that trip it, on average over calibrations. `seen` is
    the share of good parts that tripped it under its own `disturbance`; one that sees too few is not armed. At most a
    tenth of good parts exceed `tail`, which is watched over many parts, armed or not. A guard against what stays has a
    `chart`, armed or not.
    """

    name: str
    limit: float
    false_alarm_rate: float
    disturbance: str
    seen: float
    armed: bool
    tail: float
    chart: Chart | None = None


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A threshold, valid for one backend at one precision. `created` is UTC in ISO 8601.

    `false_reject_rate` is the target, `certified_rate` what `parts` good parts can certify (`guarantee` says how): on
    average over calibrations where `confidence` is None, else with that confidence for this one threshold. `method` is
    how the threshold was set. `folds` is how many heads, each trained without some of the parts, gave the scores that
    set it; None where the head that runs gave them, and only then is anything certified. `lots` is how many lots the
    parts came from, where that is known. `interval` holds 95 % of the thresholds that as many parts could have given.
    `scores` are the good parts', ascending. A score above `review_above`, where there is one, and not above `threshold`
    is OK, and a person should look at the part. `guards` belong to `guards/BACKEND-PRECISION.safetensors`; none where
    the parts were too few.
    All fields after `created` are new in schema 2.
    """

    backend: str
    device: str
    precision: str
    versions: dict[str, str]
    false_reject_rate: float
    threshold: float
    map_threshold: float
    parts: int
    certified_rate: float
    guarantee: str
    golden: tuple[GoldenPart, ...]
    golden_tolerance: float
    parity: tuple[Parity, ...]
    created: str
    method: Method = "conformal"
    confidence: float | None = None
    lots: int | None = None
    interval: tuple[float, float] | None = None
    scores: tuple[float, ...] = ()
    review_above: float | None = None
    escapes: Escapes | None = None
    folds: int | None = None
    guards: tuple[Guard, ...] = ()

    @property
    def guards_file(self) -> str:
        """Name of the file, below `guards/`, that holds what good parts look like."""
        return f"{self.backend}-{self.precision}.safetensors"


class Quantisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the int8 network was made, and what the gate that let it in measured on `backend`.

    `parts` good photographs set the ranges. `float_parts` (stem, head, residual blocks) were left in floating
    point. The rest are figures of the gate: image AUROC (0 to 1) of float32 and of int8 on `good` held-back parts and
    `defects` photographs of defects (`pasted` tells whether they were made by cutting and pasting), and how many good
    parts' verdicts differ.
    """

    backend: str
    parts: int
    float_parts: tuple[str, ...]
    image_auroc_f32: float
    image_auroc_int8: float
    good: int
    defects: int
    pasted: bool
    verdict_flips: int
    versions: dict[str, str]
    created: str


class SeverityScale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A monotone map from three measures of a rejected part to a grade, fitted to parts that a person graded.

    It belongs to the calibration with the same engine and thresholds. Measures (peak, area, integrated exceedance) are
    divided by `units`; log(1 + x), weighted by `weights`, above the n-th of `cuts` has a grade after the n-th of
    `grades`. `labels` counts graded parts; `concordance` (0 to 1) and `tau_b` (-1 to 1) are the concordance index and
    Kendall's tau-b with each part judged by a map fitted to the others.
    """

    backend: str
    precision: str
    threshold: float
    map_threshold: float
    units: tuple[float, float, float]
    weights: tuple[float, float, float]
    grades: tuple[str, ...]
    cuts: tuple[float, ...]
    labels: dict[str, int]
    concordance: float
    tau_b: float
    created: str


class BundleInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `bundle.json` says.

    `calibrations` are in the order they were made, at most one an engine and precision. `quantisation` is None where
    the bundle has no int8 network, `severity` where nobody has graded parts.
    """

    schema: int
    product: str
    preprocessing: Preprocessing
    backbone: BackboneInfo
    provenance: Provenance
    calibrations: tuple[Calibration, ...] = ()
    quantisation: Quantisation | None = None
    severity: SeverityScale | None = None


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: int
    files: dict[str, str]


class _SchemaOnly(msgspec.Struct, frozen=True):
    schema: int


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose every file was verified when it was opened.

    `digest` is the sha256 of the manifest, and so of everything. `files` gives the sha256 by name.
    """

    path: Path
    info: BundleInfo
    digest: str
    files: Mapping[str, str]

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open and verify. Raises BundleError that names the file and the remedy."""
        folder = Path(path).resolve()
        with _bundle_errors(folder, "read"):
            if not folder.parent.is_dir():
                raise BundleError(f"expected a bundle at {folder}, found not even its parent directory")
            atomic.recover(folder)
            with atomic.locked(folder.parent, shared=True):
                return _verified(folder)

    @property
    def model_path(self) -> Path:
        """The floating-point ONNX network's file."""
        return self.path / _MODEL

    @property
    def latest_calibration(self) -> Calibration:
        """The calibration made last. Raises CalibrationError where there is none."""
        if not self.info.calibrations:
            raise CalibrationError(f"{self.path} is not calibrated; {self._remedy()}")
        return self.info.calibrations[-1]

    def calibration_for(self, backend: str, precision: str) -> Calibration:
        """Return the calibration of one engine. Raises CalibrationError where it was not calibrated."""
        for calibration in reversed(self.info.calibrations):
            if (calibration.backend, calibration.precision) == (backend, precision):
                return calibration
        known = ", ".join(f"{c.backend} {c.precision}" for c in self.info.calibrations) or "nothing"
        raise CalibrationError(
            f"{self.path} is calibrated for {known}, not for {backend} {precision}, and a threshold belongs to one "
            f"engine at one precision; {self._remedy(f' --engine {backend} --precision {precision}')}"
        )

    def read_network(self, precision: str = "f32") -> bytes:
        """Read the ONNX network that runs at a precision, verified once more: what runs is what the digest says.

        int8 has one of its own, all others share one. Raises PrecisionError where there is no int8 network.
        """
        if precision == "int8" and _INT8 not in self.files:
            raise PrecisionError(
                f"{self.path} holds no int8 network; run: edge-inspect quantise --bundle {self.path} --data DIR, or "
                "choose another --precision"
            )
        return self._read(_NETWORKS.get(precision, _MODEL))

    def read_manifest(self) -> bytes:
        """Read the manifest as it was when the bundle was opened: what a signature signs. Raises BundleError."""
        with _bundle_errors(self.path, "read"):
            data = (self.path / _MANIFEST).read_bytes()
        _check_digest(self.path / _MANIFEST, self.digest, hashlib.sha256(data).hexdigest())
        return data

    def read_signature(self) -> bytes | None:
        """Read what `SIGNATURE.json` holds, unchecked; None where the bundle is not signed."""
        with _bundle_errors(self.path, "read"):
            path = self.path / _SIGNATURE
            return path.read_bytes()[:_LARGEST_SIGNATURE] if path.exists() else None

    def load_head(self) -> Head | Bank:
        """Read the unfolded head, or the bank of a network that was not trained. Needs the `train` extra."""
        return decode_head(self._read(_HEAD), str(self.path / _HEAD))

    def read_guards(self, calibration: Calibration) -> bytes:
        """Read what the guards of a calibration know of good parts, verified once more. Raises BundleError."""
        return self._read(_GUARDS + calibration.guards_file)

    def golden_frames(self, calibration: Calibration) -> NDArray[np.uint8]:
        """Read a calibration's golden parts as RGB uint8 `(G, *input_shape, 3)`, in the calibration's order."""
        shape = (*self.info.preprocessing.input_shape, 3)
        frames = [self._read_frame(_GOLDEN + part.file, shape) for part in calibration.golden]
        return np.stack(frames) if frames else np.empty((0, *shape), np.uint8)

    def _remedy(self, options: str = "") -> str:
        return f"run: edge-inspect calibrate --bundle {self.path} --good DIR{options}"

    def _read(self, name: str) -> bytes:
        with _bundle_errors(self.path, "read"):
            data = (self.path / name).read_bytes()
        _check_digest(self.path / name, self.files[name], hashlib.sha256(data).hexdigest())
        return data

    def _read_frame(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        image = cv2.imdecode(np.frombuffer(self._read(name), np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None or image.shape != shape:
            found = "no image" if image is None else f"an image of shape {image.shape}"
            raise BundleError(
                f"{self.path / name}: expected a {shape[1]}x{shape[0]} colour PNG, found {found}; calibrate again"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def folds_folder(path: Path) -> Path:
    """Where training leaves bundles of heads that were trained without some of the photographs: beside the bundle."""
    return path.with_name(f"{path.name}.folds")


def write_bundle(path: str | Path, info: BundleInfo, model: bytes, head: Head | Bank) -> Bundle:
    """Write a new, uncalibrated bundle, or replace one, in one step; a kill leaves the old one or the new one.

    Raises BundleError where `path` is something else than a bundle, or the disk is full or refuses.
    """
    folder = Path(path).resolve()
    check_target(folder)
    _write(folder, {_INFO: _encode_info(info), _MODEL: model, _HEAD: encode_head(head)})
    return Bundle.open(folder)


def update_bundle(
    bundle: Bundle,
    info: BundleInfo,
    golden: Mapping[str, NDArray[np.uint8]] | None = None,
    guards: Mapping[str, bytes] | None = None,
    networks: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Replace a bundle's information, and the `networks` that are given by precision ("f32", "int8"), in one step.

    The int8 network stays as long as `info` has a `quantisation`.

    `golden` adds preprocessed parts, RGB uint8 `(H, W, 3)`, under the file names that `info`'s calibrations use,
    `guards` their guards' files. Those no calibration uses any more are left out. Raises BundleError, also where
    another process changed the bundle since it was opened.
    """
    files = {_INFO: _encode_info(info), _HEAD: bundle._read(_HEAD)}
    for precision in ("f32", "int8") if info.quantisation else ("f32",):
        files[_NETWORKS[precision]] = (networks or {}).get(precision) or bundle.read_network(precision)
    fresh = {_GOLDEN + name: _encode_frame(frame) for name, frame in (golden or {}).items()}
    fresh |= {_GUARDS + name: data for name, data in (guards or {}).items()}
    for name in sorted(_named_files(info)):
        if name not in fresh and name not in bundle.files:
            raise BundleError(f"the calibration names {name}, but neither the bundle nor the caller has that file")
        files[name] = fresh[name] if name in fresh else bundle._read(name)
    _write(bundle.path, files, replaces=bundle.digest)
    return Bundle.open(bundle.path)


def attach_signature(bundle: Bundle, signature: bytes) -> Bundle:
    """Put `SIGNATURE.json` into a bundle in one step. Raises BundleError, also where the bundle was changed."""
    files = {name: bundle._read(name) for name in bundle.files}
    contents = {**files, _MANIFEST: bundle.read_manifest(), _SIGNATURE: signature}
    _replace(bundle.path, contents, replaces=bundle.digest)
    return Bundle.open(bundle.path)


def _encode_info(info: BundleInfo) -> bytes:
    """In the present schema: a bundle of an earlier one is brought up to it by whatever changes it."""
    return _encode(msgspec.structs.replace(info, schema=SCHEMA))


def _encode(value: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _encode_frame(frame: NDArray[np.uint8]) -> bytes:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise BundleError(f"expected a golden frame as uint8 (H, W, 3), found {frame.dtype} of shape {frame.shape}")
    return cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1].tobytes()


def _named_files(info: BundleInfo) -> set[str]:
    golden = {_GOLDEN + part.file for calibration in info.calibrations for part in calibration.golden}
    return golden | {_GUARDS + entry.guards_file for entry in info.calibrations if entry.guards}


def _write(folder: Path, files: Mapping[str, bytes], replaces: str | None = None) -> None:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    _check_names(folder, set(digests))
    _replace(folder, {**files, _MANIFEST: _encode(_Manifest(SCHEMA, digests))}, replaces)


def _replace(folder: Path, contents: Mapping[str, bytes], replaces: str | None) -> None:
    size = sum(map(len, contents.values())) >> 20
    with _bundle_errors(folder, f"written (it takes {size + 1} MiB)"), atomic.replacing(folder) as fresh:
        if replaces is not None and _sha256(folder / _MANIFEST) != replaces:
            raise BundleError(f"{folder}: another process has changed the bundle meanwhile; run the command again")
        for name, data in contents.items():
            (fresh / name).parent.mkdir(exist_ok=True)
            atomic.write_durably(fresh / name, data)


def check_target(folder: Path) -> None:
    """Refuse to write a bundle over anything but a bundle (even an altered one) or an empty directory.

    Raises BundleError, so that nobody loses other files, and nobody learns it only after the training.
    """
    with _bundle_errors(folder, "read"):
        if not folder.exists():
            return
        if not folder.is_dir():
            raise BundleError(f"{folder} is a file; name another place for the bundle")
        top = {entry.name for entry in folder.iterdir()}
    if top and (
        _MANIFEST not in top
        or top - {*_REQUIRED, *_OPTIONAL, _MANIFEST, _SIGNATURE, *(name.rstrip("/") for name in _FOLDERS)}
    ):
        raise BundleError(
            f"{folder} holds files that are not a bundle's ({', '.join(sorted(top)[:5])}), and they would be lost; "
            "name another place for the bundle"
        )


def _verified(folder: Path) -> Bundle:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise BundleError(f"expected a bundle, which is a directory, at {folder}, found {found}")
    raw = _file_bytes(folder / _MANIFEST)
    manifest = _decode(raw, _Manifest, folder / _MANIFEST)
    if raw != _encode(manifest):
        raise BundleError(f"{folder / _MANIFEST} was altered: it is not as it was written; {_REPAIR}")
    _check_names(folder, set(manifest.files))
    _check_contents(folder, set(manifest.files))
    for name, digest in manifest.files.items():
        _check_digest(folder / name, digest, _sha256(folder / name))
    info = _decode(_file_bytes(folder / _INFO), BundleInfo, folder / _INFO)
    lost = sorted(_named_files(info) - set(manifest.files))
    if lost:
        raise BundleError(f"{folder / _INFO} names {lost[0]}, which the bundle lacks; calibrate it again")
    return Bundle(folder, info, hashlib.sha256(raw).hexdigest(), manifest.files)


def _check_names(folder: Path, names: set[str]) -> None:
    """A name outside the layout could lead out of the directory, so none is accepted."""
    foreign = sorted(name for name in names - _REQUIRED - _OPTIONAL if not _FILE_NAME.fullmatch(name))
    if foreign:
        raise BundleError(f"{folder / _MANIFEST} lists {foreign[0]!r}, which is no file of a bundle; {_REPAIR}")
    lacking = sorted(_REQUIRED - names)
    if lacking:
        raise BundleError(f"{folder / _MANIFEST} does not list {lacking[0]}; {_REPAIR}")


def _check_contents(folder: Path, expected: set[str]) -> None:
    found = set(_regular_files(folder)) - {_MANIFEST, _SIGNATURE}
    missing, extra = sorted(expected - found), sorted(found - expected)
    if missing:
        raise BundleError(f"{folder / missing[0]} is missing; {_REPAIR}")
    if extra:
        raise BundleError(f"{folder / extra[0]} does not belong to the bundle; remove it, or {_REPAIR}")


def _regular_files(folder: Path, prefix: str = "") -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = prefix + entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            yield name
        elif stat.S_ISDIR(mode) and f"{name}/" in _FOLDERS:
            yield from _regular_files(folder / name, f"{name}/")
        else:
            kind = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a bundle's directory"
            raise BundleError(f"{folder / entry.name} is {kind}, which a bundle never holds; {_REPAIR}")


_T = TypeVar("_T", bound=msgspec.Struct)


def _decode(raw: bytes, kind: type[_T], path: Path) -> _T:
    try:
        schema = msgspec.json.decode(raw, type=_SchemaOnly).schema
        if schema > SCHEMA:
            raise BundleError(
                f"{path}: expected schema {SCHEMA}, found {schema}; it was written by a newer edge-inspect: "
                "update this installation"
            )
        if schema < _OLDEST_SCHEMA:
            raise BundleError(
                f"{path}: expected schema {_OLDEST_SCHEMA} to {SCHEMA}, found {schema}, which never was; {_REPAIR}"
            )
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE as error:
        raise BundleError(f"{path}: {error}; {_REPAIR}") from None


def _check_digest(path: Path, expected: str, found: str) -> None:
    if found != expected:
        raise BundleError(
            f"{path} was altered: expected sha256 {expected[:12]}... (manifest), found {found[:12]}...; {_REPAIR}"
        )


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{path} is missing: that directory is no bundle, or an incomplete one; {_REPAIR}") from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _bundle_errors(folder: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space and run the command again" if full else "check the disk and the permissions"
        where = error.filename or folder
        raise BundleError(f"{folder}: cannot be {action}: {error.strerror} ({where}); {remedy}") from error
