"""The project's kernels, compiled for the GPU at hand by the first engine of a process: that takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from engines.cuda.binding import check
from engines.cuda.context import CudaContext, Owned
from engines.cuda.kernels import read_source
from engines.cuda.stream import Stream
from engines.errors import EngineError

BLOCK = 16
"""Threads of a block along each side."""


class Module(Owned):
    """The kernels of one source file. `signatures` names them with their arguments' types in `struct`'s letters."""

    kind = "kernel module"

    def __init__(self, context: CudaContext, source: str, signatures: dict[str, str]) -> None:
        self._source = source
        self._signatures = signatures
        super().__init__(context)

    def launch(self, name: str, side: int, stream: Stream, *arguments: int) -> None:
        """Put a kernel on the stream, one thread for each pixel of a square."""
        blocks = -(-side // BLOCK)
        self._functions[name].prepared_async_call((blocks, blocks), (BLOCK, BLOCK, 1), stream.raw, *arguments)

    def _make(self) -> None:
        major, minor = self._context.capability
        binary = compile_source(self._source, f"sm_{major}{minor}")
        self._module: Any = self._context.driver.module_from_buffer(binary)
        self._functions: dict[str, Any] = {}
        for name, letters in self._signatures.items():
            self._functions[name] = self._module.get_function(name).prepare(list(letters))

    def _give_back(self) -> None:
        self._functions.clear()
        self._module = None  # pycuda unloads it with the last reference


@cache
def compile_source(name: str, target: str) -> bytes:
    """Compile a source of `engines.cuda.kernels` for a target such as `sm_87`.

    NVRTC does it where cuda-bindings finds it, else nvcc. Raises EngineError.
    """
    source = read_source(name)
    problems = []
    for compiler in (_with_nvrtc, _with_nvcc):
        try:
            return compiler(name, source, target)
        except (ImportError, OSError, RuntimeError) as error:  # not there, in the words of each
            problems.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
    raise EngineError(
        f"the preprocessing kernel needs a compiler, and neither NVRTC ({problems[0]}) nor nvcc ({problems[1]}) is "
        "here; install one with: pip install nvidia-cuda-nvrtc (for CUDA 12: nvidia-cuda-nvrtc-cu12), or the CUDA "
        "toolkit (a Jetson: sudo apt install cuda-toolkit)"
    )


def _with_nvrtc(name: str, source: str, target: str) -> bytes:
    nvrtc = import_module("cuda.bindings.nvrtc")
    program = check(nvrtc.nvrtcCreateProgram(source.encode(), name.encode(), 0, [], []), f"compiling {name}")
    try:
        options: Sequence[bytes] = [f"--gpu-architecture={target}".encode()]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(status):
            log = b" " * check(nvrtc.nvrtcGetProgramLogSize(program), f"compiling {name}")
            nvrtc.nvrtcGetProgramLog(program, log)
            said = " ".join(log.decode(errors="replace").strip("\0 ").split())
            raise EngineError(
                f"NVRTC cannot compile {name} for {target}: {status.name}: {said}; update nvidia-cuda-nvrtc"
            )
        binary = b" " * check(nvrtc.nvrtcGetCUBINSize(program), f"compiling {name}")
        check(nvrtc.nvrtcGetCUBIN(program, binary), f"compiling {name}")
        return binary
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _with_nvcc(name: str, source: str, target: str) -> bytes:
    compiler = import_module("pycuda.compiler")
    binary: bytes = compiler.compile(source, options=[], no_extern_c=True, arch=target, cache_dir=False)
    return binary
