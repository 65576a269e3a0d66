"""pycuda and cuda-bindings: imported when they are needed, and their errors under CUDA's own names."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

from engines.cuda.devices import require_gpu
from engines.errors import EngineError

OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"

_LIBRARY = "libcuda.so.1"
_CODES = range(1, 1000)  # CUresult; 999 is CUDA_ERROR_UNKNOWN
_REMEDIES = {OUT_OF_MEMORY: "lower `in_flight`, or end what else uses the GPU (nvidia-smi shows it)"}
_REMEDY = "see what nvidia-smi and dmesg say of the GPU, and start again"


class CudaError(EngineError):
    """A call of CUDA failed. `name` is CUDA's name for it, such as CUDA_ERROR_OUT_OF_MEMORY."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def load_driver() -> Any:
    """Import pycuda's driver module and initialise it.

    Raises EngineError in one line where there is no GPU, before anything is imported, and where pycuda is missing.
    """
    require_gpu()
    try:
        driver = import_module("pycuda.driver")
    except ImportError as error:
        raise EngineError(
            f"running on the GPU needs pycuda, which cannot be imported here ({error}); install it with: "
            "pip install 'edge-inspect[tensorrt]'"
        ) from error
    with cuda_errors("starting CUDA"):
        driver.init()
    return driver


def load_graphs() -> Any:
    """cuda-bindings' driver module, which can record CUDA graphs as pycuda cannot; None where it is not installed."""
    try:
        return import_module("cuda.bindings.driver")
    except ImportError:
        return None


@contextmanager
def cuda_errors(doing: str) -> Iterator[None]:
    """Turn pycuda's errors into CudaError; `doing` says what was tried."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("pycuda"):
            raise
        raise explain(doing, *split_message(str(error))) from error


def check(result: tuple[Any, ...], doing: str) -> Any:
    """What a call of cuda-bindings returned, without its status. Raises CudaError where that is not success."""
    status, *values = result
    if int(status):
        raise explain(doing, "", status.name)
    return values[0] if values else None


def explain(doing: str, call: str, name: str) -> CudaError:
    """The error for people."""
    said = f"{call} said {name}" if call else f"CUDA said {name}"
    return CudaError(name, f"{doing} failed on the GPU: {said}; {_REMEDIES.get(name, _REMEDY)}")


def split_message(message: str) -> tuple[str, str]:
    """The function and CUDA's name of the error from pycuda's message, `cuMemAlloc failed: out of memory`.

    pycuda keeps the number of the error to itself and gives CUDA's description of it. What is not of that form is
    returned as the name.
    """
    found = re.match(r"(\w+(?:::\w+)?) failed: (.*)", message, re.DOTALL)
    if not found:
        return "", message
    texts = _names()
    # pycuda may append more of its own: " - " and a text.
    return found[1], texts.get(found[2]) or texts.get(found[2].split(" - ")[0]) or found[2]


@cache
def _names() -> dict[str, str]:
    """CUDA's names by their descriptions, as the driver's own library tells them."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return {}
    return {
        text: name
        for code in _CODES
        if (text := _ask(library.cuGetErrorString, code))
        for name in [_ask(library.cuGetErrorName, code)]
    }


def _ask(function: Any, code: int) -> str:
    text = ctypes.c_char_p()
    return text.value.decode() if not function(code, ctypes.byref(text)) and text.value else ""


def forget_current_context() -> None:
    """Take the calling thread's current context off CUDA's stack, past pycuda's: see `CudaContext.close`."""
    ctypes.CDLL(_LIBRARY).cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
