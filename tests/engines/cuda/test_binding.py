"""What is said where there is no GPU or no pycuda, and CUDA's names for what fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.bundle import Bundle
from engines.cuda import binding
from engines.cuda.binding import CudaError, check, cuda_errors, load_driver, split_message
from engines.cuda.context import CudaContext
from engines.cuda.devices import find_gpus
from engines.errors import EngineError, PrecisionError
from engines.registry import open_engine

no_gpu = pytest.mark.skipif(bool(find_gpus()), reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_without_a_gpu_an_engine_says_so_in_one_line(uncalibrated_bundle: Bundle, backend: str) -> None:
    with pytest.raises(EngineError, match="no NVIDIA GPU") as caught:
        open_engine(uncalibrated_bundle, backend, "f16")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


@no_gpu
def test_without_a_gpu_nothing_of_cuda_is_imported() -> None:
    code = (
        "import sys\nfrom engines.errors import EngineError\nfrom engines.cuda.context import CudaContext\n"
        "try:\n    CudaContext()\nexcept EngineError as error:\n    print(error)\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('pycuda', 'cuda', 'tensorrt')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no NVIDIA GPU")
    assert done.stdout.endswith("\n[]\n")


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_other_precisions_are_wrong_usage(uncalibrated_bundle: Bundle, backend: str) -> None:
    with pytest.raises(PrecisionError, match="in f16, asked for f32"):
        open_engine(uncalibrated_bundle, backend, "f32")


def test_a_missing_pycuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "require_gpu", lambda: None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(EngineError, match=r"needs pycuda.*pip install 'edge-inspect\[tensorrt\]'"):
        load_driver()


# A driver's library that says no to everything, as one does whose kernel module is not loaded.
NO_DRIVER = r"""
static const char *text = "out of memory", *name = "CUDA_ERROR_OUT_OF_MEMORY";
int cuInit(unsigned flags) { return 2; }
int cuGetErrorString(int code, const char **found) { *found = code == 2 ? text : 0; return code != 2; }
int cuGetErrorName(int code, const char **found) { *found = code == 2 ? name : 0; return code != 2; }
"""


def test_errors_bear_the_names_that_the_drivers_library_gives(tmp_path: Path) -> None:
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text(NO_DRIVER)
    try:
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    except FileNotFoundError:
        pytest.skip("no gcc to make a driver's library with")
    code = (
        "from engines.cuda.binding import split_message, explain\n"
        "found = split_message('cuMemAlloc failed: out of memory')\n"
        "print(found, explain('making a stream', *found))\n"
        "print(split_message('cuMemAlloc failed: out of memory - too much'))"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    first, second = done.stdout.splitlines()
    assert first == (
        "('cuMemAlloc', 'CUDA_ERROR_OUT_OF_MEMORY') making a stream failed on the GPU: cuMemAlloc said "
        "CUDA_ERROR_OUT_OF_MEMORY; lower `in_flight`, or end what else uses the GPU (nvidia-smi shows it)"
    )
    assert second == "('cuMemAlloc', 'CUDA_ERROR_OUT_OF_MEMORY')"


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("cuStreamSynchronize failed: something unheard of", ("cuStreamSynchronize", "something unheard of")),
        ("context::pop failed: something", ("context::pop", "something")),
        ("no such form", ("", "no such form")),
    ],
)
def test_a_message_without_a_known_name_is_kept(message: str, parts: tuple[str, str]) -> None:
    assert split_message(message) == parts


def test_pycudas_errors_become_ours_and_others_stay() -> None:
    kind = type("LaunchError", (Exception,), {"__module__": "pycuda._driver"})
    said = "waiting failed on the GPU: cuStreamSynchronize said gone"
    with pytest.raises(CudaError, match=said) as caught, cuda_errors("waiting"):
        raise kind("cuStreamSynchronize failed: gone")
    assert caught.value.name == "gone"
    with pytest.raises(KeyError), cuda_errors("waiting"):
        raise KeyError("x")


def test_cuda_bindings_statuses_are_checked() -> None:
    driver = pytest.importorskip("cuda.bindings.driver")
    assert check((driver.CUresult.CUDA_SUCCESS, 7), "asking") == 7
    assert check((driver.CUresult.CUDA_SUCCESS,), "asking") is None
    with pytest.raises(CudaError, match="asking failed on the GPU: CUDA said CUDA_ERROR_INVALID_VALUE") as caught:
        check((driver.CUresult.CUDA_ERROR_INVALID_VALUE, None), "asking")
    assert caught.value.name == "CUDA_ERROR_INVALID_VALUE"


def test_a_context_needs_a_gpu_and_pycuda() -> None:
    if find_gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match="no NVIDIA GPU"):
        CudaContext()
