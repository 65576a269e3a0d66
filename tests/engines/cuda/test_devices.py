"""Asking for GPUs: a clear line where there is none, the driver's facts where there is a driver."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engines.cuda import devices
from engines.cuda.devices import driver_version, find_gpus, l4t_version, require_gpu
from engines.errors import EngineError

# The driver's library as far as `devices` uses it, with two GPUs or an error in their place. It is compiled to a real
# shared library, so that the calls go through the same loader and the same calling convention.
DRIVER = r"""
#include <stdio.h>
#include <stddef.h>
#ifndef INIT
#define INIT 0
#endif
#ifndef COUNT
#define COUNT 2
#endif
int cuInit(unsigned flags) { return flags ? 1 : INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
int cuDeviceGet(int *device, int index) { *device = 100 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "GPU number %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)24 << 30; return device < 100; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? device - 93 : -1;
    return 0;
}
int cuGetErrorName(int code, const char **name) {
    *name = code == 100 ? "CUDA_ERROR_NO_DEVICE" : NULL;
    return code != 100;
}
"""


def use_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, *definitions: str) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = folder / "driver.c", folder / "libcuda.so.1"
    source.write_text(DRIVER)
    command = [compiler, "-shared", "-fPIC", *(f"-D{name}" for name in definitions), "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    monkeypatch.setattr(devices, "_LIBRARY", str(library))


def test_every_gpu_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_driver(tmp_path, monkeypatch)
    first, second = find_gpus()
    assert (first.index, first.name, first.capability, first.target) == (0, "GPU number 100", (8, 7), "sm87")
    assert (second.index, second.name, second.target) == (1, "GPU number 101", "sm88")
    assert (first.memory, first.cuda) == (24 << 30, "12.6")
    assert require_gpu() == first


def test_a_machine_without_a_driver_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_LIBRARY", "libcuda-that-is-nowhere.so.1")
    assert find_gpus() == []
    with pytest.raises(
        EngineError, match=r"driver's library is missing .*install NVIDIA's driver.*onnxruntime"
    ) as refusal:
        require_gpu()
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 1


def test_the_drivers_error_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_driver(tmp_path, monkeypatch, "INIT=100")
    assert find_gpus() == []
    with pytest.raises(EngineError, match=r"cuInit\(\) failed with CUDA_ERROR_NO_DEVICE \(100\); install"):
        require_gpu()


def test_an_error_without_a_name_has_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_driver(tmp_path, monkeypatch, "INIT=4711")
    with pytest.raises(EngineError, match=r"failed with an error without a name \(4711\)"):
        require_gpu()


def test_hidden_gpus_are_said_to_be_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_driver(tmp_path, monkeypatch, "COUNT=0")
    with pytest.raises(
        EngineError, match=r"no NVIDIA GPU is visible to this process .CUDA_VISIBLE_DEVICES may hide it"
    ):
        require_gpu()


def test_asking_crashes_nowhere_and_imports_no_cuda() -> None:
    code = (
        "import sys; from engines.cuda.devices import find_gpus; find_gpus(); "
        "print({'cuda', 'pycuda', 'tensorrt'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


@pytest.mark.gpu
def test_the_gpu_here_is_described() -> None:
    gpu = require_gpu()
    assert gpu.name
    assert gpu.capability >= (5, 0)
    assert gpu.memory > 1 << 28


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed\n", "R36.4.3"),
        ("# R39 (release), REVISION: 2.0, GCID: 1, BOARD: generic\n", "R39.2.0"),
        ("something else\nmore", "something else"),
    ],
)
def test_the_jetsons_release(text: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "nv_tegra_release"
    monkeypatch.setattr(devices, "_L4T_RELEASE", path)
    assert l4t_version() == ""
    path.write_text(text)
    assert l4t_version() == version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.133.20  Sun Mar 30 2025\nGCC version: 12\n",
            "570.133.20",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder)\nGCC:\n",
            "580.95.05",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n", "540.4.0"),
        ("nothing", ""),
    ],
)
def test_the_drivers_version(text: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "version"
    monkeypatch.setattr(devices, "_DRIVER_VERSION", path)
    assert driver_version() == ""
    path.write_text(text)
    assert driver_version() == version
