"""The kernels compiled for the CPU, so that what they compute is tested without a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import engines.cuda.kernels
from engines.cuda.sampling import find_sampling
from engines.preprocess import Preprocessing

HERE = Path(__file__).parent
KERNELS = Path(engines.cuda.kernels.__file__).parent


class HostKernels:
    """The kernels on the CPU: one call runs every thread of every block."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    def preprocess(self, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """As `preprocessing(frame)`. The frame's rows may lie any distance apart, its pixels may not."""
        sampling = find_sampling(preprocessing, frame.shape)
        output = np.zeros((sampling.size, sampling.size, 3), np.uint8)
        corner = frame[sampling.top :, sampling.left :]
        numbers = sampling.halvings, sampling.halved_across, sampling.halved_down
        self._library.preprocess_all(
            *(_address(corner), frame.strides[0], sampling.channels, _address(sampling.taps)),
            *(*numbers, _address(output), sampling.size),
        )
        return output

    def blur(self, source: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blur one square map."""
        between, target = np.empty_like(source), np.empty_like(source)
        addresses = (_address(array) for array in (source, between, target, weights))
        self._library.blur_all(*addresses, len(weights) // 2, len(source))
        return target


def _address(array: NDArray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def build(folder: Path, *options: str) -> Path:
    """Compile the kernels for the CPU."""
    compiler = shutil.which("g++")
    if not compiler:
        pytest.skip("no g++ to compile the kernels for the CPU with")
    library = folder / "kernels.so"
    command = [
        compiler,
        "-O2",
        "-shared",
        "-fPIC",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unknown-pragmas",
        *options,
        f"-I{KERNELS}",
    ]
    subprocess.run([*command, str(HERE / "host.cpp"), "-o", str(library)], check=True)
    return library


@pytest.fixture(scope="session")
def host_library() -> Callable[..., Path]:
    """`host_library(folder, *options)`: the kernels compiled by g++ with options of the test's own."""
    return build


@pytest.fixture(scope="session")
def host_kernels(tmp_path_factory: pytest.TempPathFactory) -> HostKernels:
    """The kernels compiled by g++."""
    return HostKernels(build(tmp_path_factory.mktemp("kernels")))
