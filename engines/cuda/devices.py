"""Which NVIDIA GPUs this machine has, asked of the driver's own library: needs no package, and crashes on no machine.

TensorRT's Runtime ends the process where there is no GPU, so whatever uses it calls `require_gpu` first. It asks what
`cudaGetDeviceCount` asks (`cuInit`, then `cuDeviceGetCount`), but of `libcuda`, which every driver brings. The CUDA
runtime would have to be installed, and refuses a driver older than itself although TensorRT may run on it.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import EngineError

_LIBRARY = "libcuda.so.1"
_L4T_RELEASE = Path("/etc/nv_tegra_release")
_DRIVER_VERSION = Path("/proc/driver/nvidia/version")
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute
_NAME_BYTES = 256
_REMEDY = (
    "install NVIDIA's driver (a Jetson has it from JetPack) and see what nvidia-smi says, or take an engine for the "
    "CPU: openvino, onnxruntime"
)


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver sees it; `index` counts those that are visible to this process.

    `capability` is the compute capability, `memory` the total in bytes. `driver` is the driver's version and empty
    where the kernel does not tell it, `cuda` the newest CUDA that the driver runs.
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory: int
    driver: str
    cuda: str

    @property
    def target(self) -> str:
        """The architecture as compilers and builders spell it, such as `sm89`."""
        return f"sm{self.capability[0]}{self.capability[1]}"


def find_gpus() -> list[Gpu]:
    """Every GPU that is visible to this process; none where there is no driver either."""
    try:
        return _ask_driver()
    except EngineError:
        return []


def require_gpu() -> Gpu:
    """The first GPU. Raises EngineError that says in one line why there is none and what to do."""
    gpus = _ask_driver()
    if not gpus:
        raise EngineError(f"no NVIDIA GPU is visible to this process (CUDA_VISIBLE_DEVICES may hide it); {_REMEDY}")
    return gpus[0]


def l4t_version() -> str:
    """The release of Jetson's Linux such as `R36.4.3`; empty on any other machine."""
    try:
        text = _L4T_RELEASE.read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"(R\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else text.splitlines()[0].strip()


def driver_version() -> str:
    """The version of NVIDIA's kernel driver; empty where it is not loaded, or is Jetson's own."""
    try:
        text = _DRIVER_VERSION.read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found[1] if found else ""


def _ask_driver() -> list[Gpu]:
    library = _load()
    _check(library, library.cuInit(0), "cuInit")
    count, version = ctypes.c_int(), ctypes.c_int()
    _check(library, library.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    _check(library, library.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return [_describe(library, index, cuda) for index in range(count.value)]


def _load() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise EngineError(
            f"no NVIDIA GPU can be used here, the driver's library is missing ({error}); {_REMEDY}"
        ) from None


def _describe(library: Any, index: int, cuda: str) -> Gpu:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _check(library, library.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _check(library, library.cuDeviceGetName(name, _NAME_BYTES, device), "cuDeviceGetName")
    _check(library, library.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    capability = _attribute(library, device, _CAPABILITY_MAJOR), _attribute(library, device, _CAPABILITY_MINOR)
    return Gpu(index, name.value.decode(errors="replace"), capability, memory.value, driver_version(), cuda)


def _attribute(library: Any, device: ctypes.c_int, number: int) -> int:
    value = ctypes.c_int()
    _check(library, library.cuDeviceGetAttribute(ctypes.byref(value), number, device), "cuDeviceGetAttribute")
    return value.value


def _check(library: Any, code: int, call: str) -> None:
    if not code:
        return
    name = ctypes.c_char_p()
    library.cuGetErrorName(code, ctypes.byref(name))
    text = name.value.decode() if name.value else "an error without a name"
    raise EngineError(f"no NVIDIA GPU can be used here: {call}() failed with {text} ({code}); {_REMEDY}")
