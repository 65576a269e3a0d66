"""Kernels compiled where they run."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from engines.cuda import module
from engines.cuda.kernels import SOURCES, read_source
from engines.errors import EngineError


@pytest.mark.parametrize("target", ["sm_87", "sm_89", "sm_90", "sm_120"])
@pytest.mark.parametrize("name", SOURCES)
def test_nvrtc_compiles_every_kernel_without_a_gpu(name: str, target: str) -> None:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"no NVRTC: {error}")
    assert module.compile_source(name, target)[:4] == b"\x7fELF"


def test_what_nvrtc_says_of_a_mistake_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    try:
        nvrtc.nvrtcVersion()
    except RuntimeError as error:
        pytest.skip(f"no NVRTC: {error}")
    with pytest.raises(EngineError, match=r"cannot compile wrong\.cu for sm_87: NVRTC_ERROR_COMPILATION: .*nonsense"):
        module._with_nvrtc("wrong.cu", "nonsense", "sm_87")


def test_where_no_compiler_is_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"no {name}")

    monkeypatch.setattr(module, "import_module", missing)
    module.compile_source.cache_clear()
    with pytest.raises(EngineError, match=r"neither NVRTC \(no cuda.bindings.nvrtc\) nor nvcc \(no pycuda.compiler\)"):
        module.compile_source("blur.cu", "sm_87")


def test_the_sources_are_part_of_the_package() -> None:
    description = configparser.ConfigParser()
    description.read(Path(__file__).parents[3] / "setup.cfg")
    assert description["options.package_data"]["engines.cuda.kernels"] == "*.cu"
    assert all(read_source(name).startswith("//") for name in SOURCES)
