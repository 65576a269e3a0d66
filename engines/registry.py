"""Which engines exist, which of them this machine can run, and which one `auto` takes."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from engines.bundle import Bundle
from engines.cuda.devices import find_gpus
from engines.engine import Engine
from engines.errors import EngineError, PrecisionError, UsageError
from engines.probe import Probe
from engines.tiled_engine import TiledEngine

PRECISIONS = ("f32", "f16", "bf16", "int8")

# A module of engines.backends each (a dash is an underscore there), the fastest first, with what pip installs for it.
BACKENDS = {
    "tensorrt": "'edge-inspect[tensorrt]'",
    "tensorrt-rtx": "'edge-inspect[rtx]'",
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
}
GPU_BACKENDS = ("tensorrt", "tensorrt-rtx")
CPU_BACKENDS = ("openvino", "onnxruntime")


@dataclass(frozen=True)
class BackendStatus:
    """One backend on this machine: what it can do, or why it cannot be used and what to do (`problem`)."""

    name: str
    probe: Probe | None
    problem: str = ""


def available_backends() -> list[BackendStatus]:
    """Ask every backend what it can do here; the preferred one comes first. Unusable ones are listed, too."""
    preferred = _preference()
    return [_status(name) for name in (*preferred, *(name for name in BACKENDS if name not in preferred))]


def open_engine(bundle: Bundle, backend: str = "auto", precision: str = "auto", in_flight: int = 1) -> Engine:
    """Open the engine that runs a bundle. Its `description.reason` says why it was chosen.

    `backend` is `auto` or one of BACKENDS, `precision` is `auto` or one of PRECISIONS. `auto` takes the fastest
    backend that works. The cores are shared out among `in_flight` frames: more of them give more frames a second, and
    each one takes longer (`tuning.best_in_flight`).
    Raises EngineError naming the remedy, UsageError for an unknown name.
    """
    _check_name("engine", backend, tuple(BACKENDS))
    _check_name("precision", precision, PRECISIONS)
    if backend != "auto":
        return _open(bundle, backend, precision, in_flight, f"{backend} was asked for")
    problems: list[str] = []
    kind: type[EngineError] = PrecisionError
    for name in _preference():
        reason = "; ".join([*problems, f"{name} is the fastest engine that works here"])
        try:
            return _open(bundle, name, precision, in_flight, reason)
        except EngineError as error:
            problems.append(f"{name} cannot be used: {error}")
            # Wrong usage only where every backend refused the precision, and none is missing or broken.
            kind = kind if isinstance(error, PrecisionError) else EngineError
    raise kind("no engine can run this bundle: " + "; ".join(problems))


def _check_name(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in ("auto", *known):
        raise UsageError(f"no {what} {name!r}; choose auto, {', '.join(known)}")


def _preference() -> list[str]:
    """What `auto` tries, in this order. Where there is no GPU, nobody needs to hear why TensorRT does not run."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    cpu = sorted(CPU_BACKENDS, key=lambda name: (name == "openvino") != x86)
    return [*GPU_BACKENDS, *cpu] if find_gpus() else cpu


def _open(bundle: Bundle, name: str, precision: str, in_flight: int, reason: str) -> Engine:
    module = _load(name)
    if precision == "auto":
        facts: Probe = module.probe()
        precision, reason = facts.preferred, f"{reason}; {facts.preferred}: {facts.reason}"
    engine: Engine = module.open_engine(bundle, precision, reason, in_flight)
    tiling = bundle.info.preprocessing.tiles
    return TiledEngine(engine, tiling) if tiling else engine


def _status(name: str) -> BackendStatus:
    try:
        return BackendStatus(name, _load(name).probe())
    except (EngineError, RuntimeError) as error:
        return BackendStatus(name, None, str(error))


def _load(name: str) -> ModuleType:
    try:
        return import_module(f"engines.backends.{name.replace('-', '_')}")
    except ImportError as error:
        raise EngineError(
            f"{name} cannot be imported ({error}); install it with: pip install {BACKENDS[name]}"
        ) from error
