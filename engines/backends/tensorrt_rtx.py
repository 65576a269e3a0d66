"""TensorRT-RTX, for GeForce and RTX cards: what TensorRT's engine does, by the other library of the two."""

from __future__ import annotations

from engines.backends import tensorrt
from engines.backends.tensorrt_builder import target_names
from engines.backends.tensorrt_library import flavour_named, load_library
from engines.bundle import Bundle
from engines.cuda.devices import require_gpu
from engines.engine import Engine
from engines.errors import EngineError
from engines.probe import Probe

NAME = "tensorrt-rtx"


def probe() -> Probe:
    """What TensorRT-RTX can do on the first GPU. Raises EngineError, also for a GPU that it does not know."""
    facts = tensorrt.probe(NAME)
    known, found = target_names(load_library(flavour_named(NAME))), require_gpu().target
    if found not in known:
        raise EngineError(
            f"TensorRT-RTX runs on {', '.join(known)}, and {facts.device} is {found}; choose --engine tensorrt"
        )
    return facts


def open_engine(bundle: Bundle, precision: str, reason: str, in_flight: int = 1) -> Engine:
    """Open the bundle's engine, built first where there is none. Raises EngineError."""
    return tensorrt.open_engine(bundle, precision, reason, in_flight, NAME)
