"""The engine of a bundle for TensorRT or TensorRT-RTX: the stored one where it is the right one, else a new one."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines import half
from engines.backends.tensorrt_builder import Built, Plan, Progress, build_options, serialise, target_names
from engines.backends.tensorrt_library import Flavour, flavour_named, load_library
from engines.bundle import Bundle
from engines.cuda.devices import l4t_version, require_gpu
from engines.engine import check_frames
from engines.engine_cache import (
    BuiltEngine,
    EngineFileError,
    EngineKey,
    check_writable,
    load_engine,
    load_timings,
    store_engine,
    store_timings,
    system_name,
)
from engines.errors import EngineError, UsageError

PRECISION = "f16"


class BuildReport(msgspec.Struct, frozen=True):
    """What `report.json` beside an engine says: what was built, how, and how large the numbers in it get.

    `product` and `bundle` (its digest) name what it was built from, `network` is the sha256 of the half-precision
    network. `frames` counts the network inputs that the ranges were measured on, by where they came from. `seconds` is
    the builder's time, `bytes` the engine's size.
    """

    product: str
    bundle: str
    key: EngineKey
    network: str
    bytes: int
    seconds: float
    warnings: tuple[str, ...]
    frames: dict[str, int]
    least_headroom: float | None
    kept_in_float32: dict[str, str]
    ranges: tuple[half.LayerRange, ...]


def ensure_engine(
    bundle: Bundle,
    flavour: str,
    batch: int,
    may_build: bool = True,
    progress: Progress | None = None,
    target: str = "",
    photographs: NDArray[np.uint8] | None = None,
) -> BuiltEngine:
    """Return the verified engine of a bundle for batches of 1 to `batch`, built now where there is none that is right.

    `flavour` is `tensorrt` or `tensorrt-rtx`. Without a `target` such as `sm89` it is for the GPU at hand; TensorRT-RTX
    builds for another one, too, and then needs none. A build takes minutes with TensorRT and tells `progress` in a line
    of text every ten seconds where it is. It needs the package onnx, which loading does not. `photographs`, network
    inputs of shape `(N, S, S, 3)`, join the bundle's golden parts where ranges are measured.
    Raises EngineError, also where `may_build` is false and an engine would have to be built; it says what differs.
    """
    kind = flavour_named(flavour)
    if batch < 1:
        raise UsageError(f"expected a batch of at least 1, found {batch}")
    library, key = _wanted(kind, bundle, batch, target)
    try:
        return load_engine(bundle, key)
    except EngineFileError as reason:
        if not may_build:
            raise EngineFileError(f"{reason}; run: {_command(bundle, key)}") from None
        if progress:
            progress(f"{reason}; building it")
    return _build(bundle, kind, library, key, progress, photographs)


def read_report(engine: BuiltEngine) -> BuildReport:
    """Read what was written when an engine was built. Raises EngineError."""
    try:
        return msgspec.json.decode(engine.report_path.read_bytes(), type=BuildReport)
    except (OSError, msgspec.DecodeError) as error:
        raise EngineError(
            f"{engine.report_path} cannot be read ({error}); remove its directory and build again"
        ) from None


def _wanted(kind: Flavour, bundle: Bundle, batch: int, target: str) -> tuple[Any, EngineKey]:
    """The library, and the key of the engine that is right here. The GPU is asked for first: see `require_gpu`."""
    if target and not kind.ahead:
        raise UsageError(f"{kind.title} builds for the GPU at hand alone: leave the target {target} out")
    try:
        gpu = None if target else require_gpu()
    except EngineError as error:
        hint = "; to build ahead for another machine name its architecture, such as --target sm89" if kind.ahead else ""
        raise EngineError(f"{error}{hint}") from None
    library = load_library(kind)
    if gpu:
        target = gpu.target
    if kind.ahead and target not in target_names(library):
        known = ", ".join(target_names(library))
        raise UsageError(f"{kind.title} {library.__version__} has no target {target}; it builds for {known}")
    key = EngineKey(
        backend=kind.name,
        version=library.__version__,
        model=bundle.files[bundle.model_path.name],
        recipe=half.RECIPE,
        precision=PRECISION,
        batch=batch,
        target=target,
        gpu="",
        driver="",
        cuda="",
        l4t="",
        system=system_name(),
        options=build_options(library),
    )
    if gpu and not kind.ahead:
        key = msgspec.structs.replace(key, gpu=gpu.name, driver=gpu.driver, cuda=gpu.cuda, l4t=l4t_version())
    return library, key


def _build(
    bundle: Bundle,
    kind: Flavour,
    library: Any,
    key: EngineKey,
    progress: Progress | None,
    photographs: NDArray[np.uint8] | None,
) -> BuiltEngine:
    check_writable(bundle)
    if progress:
        progress("deriving the half-precision network and measuring its ranges")
    frames = _frames(bundle, photographs)
    network = half.derive(bundle.read_network(), np.concatenate(list(frames.values())))
    size = bundle.info.preprocessing.input_size
    target = key.target if kind.ahead else ""
    plan = Plan(network.data, size, key.batch, target, load_timings(bundle, key))
    built = serialise(library, kind, plan, progress)
    report = _report(bundle, key, network, built, {name: len(some) for name, some in frames.items()})
    if built.timings:
        store_timings(bundle, key, built.timings)
    return store_engine(bundle, key, built.engine, msgspec.json.format(msgspec.json.encode(report), indent=2))


def _frames(bundle: Bundle, photographs: NDArray[np.uint8] | None) -> dict[str, NDArray[np.uint8]]:
    """What the ranges are measured on, by where it comes from: all the real parts there are, and extreme pictures."""
    preprocessing = bundle.info.preprocessing
    golden = [frame for calibration in bundle.info.calibrations for frame in bundle.golden_frames(calibration)]
    size = preprocessing.input_size
    frames = {"extreme": half.extreme_frames(size)}
    if golden:
        frames["golden parts"] = np.concatenate([preprocessing.squares(frame) for frame in golden])
    if photographs is not None:
        check_frames(photographs, (size, size))
        frames["photographs"] = photographs
    return frames


def _report(
    bundle: Bundle, key: EngineKey, network: half.HalfNetwork, built: Built, frames: dict[str, int]
) -> BuildReport:
    return BuildReport(
        product=bundle.info.product,
        bundle=bundle.digest,
        key=key,
        network=hashlib.sha256(network.data).hexdigest(),
        bytes=len(built.engine),
        seconds=round(built.seconds, 2),
        warnings=built.warnings,
        frames=frames,
        least_headroom=network.least_headroom,
        kept_in_float32={entry.layer: entry.kept for entry in network.ranges if entry.kept},
        ranges=network.ranges,
    )


def _command(bundle: Bundle, key: EngineKey) -> str:
    target = f" --target {key.target}" if key.backend == "tensorrt-rtx" else ""
    return f"edge-inspect build --bundle {bundle.path} --engine {key.backend} --batch {key.batch}{target}"
