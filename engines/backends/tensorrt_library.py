"""TensorRT and TensorRT-RTX as Python modules: which one a name means, how it is imported, what it logs.

Importing either is harmless without a GPU; whoever goes on to a Runtime asks `engines.cuda.devices.require_gpu` first.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from engines.cuda.devices import l4t_version
from engines.errors import EngineError, UsageError

_KEPT_MESSAGES = 50


@dataclass(frozen=True)
class Flavour:
    """One of the two libraries: the engine's name, the Python module, the name for people.

    `ahead` tells whether it builds ahead of time, for any GPU and without one: then it times no kernels, and the
    machine that runs the engine finishes it.
    """

    name: str
    module: str
    title: str
    ahead: bool


FLAVOURS = {
    "tensorrt": Flavour("tensorrt", "tensorrt", "TensorRT", ahead=False),
    "tensorrt-rtx": Flavour("tensorrt-rtx", "tensorrt_rtx", "TensorRT-RTX", ahead=True),
}


def flavour_named(name: str) -> Flavour:
    """Raises UsageError for an unknown name."""
    if name not in FLAVOURS:
        raise UsageError(f"no TensorRT flavour {name!r}; choose {' or '.join(FLAVOURS)}")
    return FLAVOURS[name]


def load_library(flavour: Flavour) -> Any:
    """Import the library. Raises EngineError that says how this machine gets it."""
    try:
        return import_module(flavour.module)
    except (ImportError, OSError, RuntimeError) as error:  # a library that is found but broken raises the latter two
        raise EngineError(f"{flavour.title} cannot be imported here ({error}); {how_to_install(flavour)}") from error


def how_to_install(flavour: Flavour) -> str:
    """The way to get the library on this kind of machine."""
    if flavour.ahead:
        return "install it with: pip install 'edge-inspect[rtx]'"
    if l4t_version():
        return (
            "install JetPack's with: sudo apt install python3-libnvinfer, and make the virtual environment with "
            "--system-site-packages (docs/deployment-jetson.md)"
        )
    return (
        "install NVIDIA's package with: sudo apt install python3-libnvinfer, or from NVIDIA's index with: pip install "
        "tensorrt (docs/deployment-rtx.md)"
    )


def make_logger(library: Any) -> Any:
    """Return a logger of that library that keeps the last warnings and errors.

    `messages` holds them, oldest first. TensorRT's own logger prints to the terminal, where a daemon has none, and
    returns nothing but None from a failed call: the reason is in the log alone.
    """
    severity = library.ILogger.Severity
    kept = (severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING)

    class Logger(library.ILogger):
        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.messages: list[str] = []
            self.errors: list[str] = []

        def log(self, level: Any, message: str) -> None:
            if level in kept:
                self.messages = [*self.messages, message][-_KEPT_MESSAGES:]
            if level in kept[:2]:
                self.errors = [*self.errors, message][-_KEPT_MESSAGES:]

    return Logger()
