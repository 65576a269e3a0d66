"""Which engine `auto` takes, and what is said where it cannot have the best one."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from calibration.commands import calibrate
from edge.config import parse_config
from engines.bundle import Bundle
from engines.cuda import devices
from engines.cuda.devices import Gpu
from engines.errors import EngineError, PrecisionError, UsageError
from engines.registry import BACKENDS, GPU_BACKENDS, available_backends, open_engine

LEAN = """
import sys
from engines.bundle import Bundle
from engines.cuda import devices
from engines.cuda.devices import Gpu
from engines.registry import open_engine
with open_engine(Bundle.open(sys.argv[1])) as engine:
    engine.warmup(1)
print(sorted({"torch", "onnx", "safetensors", "scipy", "sklearn", "tqdm"} & set(sys.modules)))
"""


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Forget the backends that are imported, so that the next import meets what the test has removed."""
    for name in BACKENDS:
        monkeypatch.delitem(sys.modules, f"engines.backends.{name}", raising=False)
    return monkeypatch


def test_auto_takes_openvino_on_x86(uncalibrated_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("engines.backends.openvino")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with open_engine(uncalibrated_bundle) as engine:
        assert engine.description.backend == "openvino"
        assert engine.description.reason.startswith("openvino is the fastest engine that works here; ")


def test_auto_takes_onnxruntime_elsewhere(uncalibrated_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with open_engine(uncalibrated_bundle) as engine:
        assert engine.description.backend == "onnxruntime"


def test_auto_goes_on_without_openvino_and_says_so(uncalibrated_bundle: Bundle, without: pytest.MonkeyPatch) -> None:
    without.setitem(sys.modules, "openvino", None)
    without.setattr("platform.machine", lambda: "x86_64")
    with open_engine(uncalibrated_bundle) as engine:
        assert engine.description.backend == "onnxruntime"
        assert "openvino cannot be used: openvino cannot be imported" in engine.description.reason


def test_a_gpu_comes_before_the_cpu(uncalibrated_bundle: Bundle, without: pytest.MonkeyPatch) -> None:
    card = Gpu(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30, "580.95.05", "13.0")
    without.setattr("engines.registry.find_gpus", lambda: [card])
    assert [status.name for status in available_backends()][:2] == ["tensorrt", "tensorrt-rtx"]
    for library in ("tensorrt", "tensorrt_rtx"):
        without.setitem(sys.modules, library, None)
    with open_engine(uncalibrated_bundle) as engine:
        assert engine.description.backend in ("openvino", "onnxruntime")
        assert engine.description.reason.startswith("tensorrt cannot be used: ")
        assert "tensorrt-rtx cannot be used: " in engine.description.reason


def test_without_a_gpu_nobody_hears_of_it(uncalibrated_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.registry.find_gpus", list)
    with open_engine(uncalibrated_bundle) as engine:
        assert "tensorrt" not in engine.description.reason
    assert {"tensorrt", "tensorrt-rtx"} <= {status.name for status in available_backends()}


def test_a_named_engine_is_never_replaced(uncalibrated_bundle: Bundle, without: pytest.MonkeyPatch) -> None:
    without.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"openvino cannot be imported.*pip install openvino"):
        open_engine(uncalibrated_bundle, "openvino")


def test_no_engine_at_all_names_every_remedy(uncalibrated_bundle: Bundle, without: pytest.MonkeyPatch) -> None:
    for name in BACKENDS:
        without.setitem(sys.modules, name, None)
    with pytest.raises(
        EngineError, match=r"no engine can run.*pip install openvino.*pip install onnxruntime"
    ) as refusal:
        open_engine(uncalibrated_bundle)
    assert refusal.value.exit_code == 1


def test_a_precision_that_no_engine_has_is_wrong_usage(uncalibrated_bundle: Bundle) -> None:
    with pytest.raises(PrecisionError, match=r"no engine can run.*holds no int8 network") as refusal:
        open_engine(uncalibrated_bundle, "auto", "int8")
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cuda",), r"no engine 'cuda'; choose auto, tensorrt, tensorrt-rtx, openvino, onnxruntime"),
        (("auto", "fp16"), r"no precision 'fp16'; choose auto, f32, f16, bf16, int8"),
    ],
)
def test_unknown_names_are_refused(uncalibrated_bundle: Bundle, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_engine(uncalibrated_bundle, *arguments)


def test_available_backends_are_probed() -> None:
    statuses = {status.name: status for status in available_backends()}
    assert set(statuses) == set(BACKENDS)
    onnxruntime = statuses["onnxruntime"]
    assert onnxruntime.probe is not None
    assert onnxruntime.probe.precisions == ("f32", "int8")


def test_an_absent_backend_is_listed_with_its_remedy(without: pytest.MonkeyPatch) -> None:
    without.setitem(sys.modules, "openvino", None)
    status = next(status for status in available_backends() if status.name == "openvino")
    assert status.probe is None
    assert "pip install openvino" in status.problem


def test_running_a_bundle_needs_nothing_of_the_trainer(uncalibrated_bundle: Bundle) -> None:
    command = [sys.executable, "-c", LEAN, str(uncalibrated_bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_the_registry_imports_no_backend() -> None:
    command = [
        sys.executable,
        "-c",
        "import sys, engines.registry; print({'openvino', 'onnxruntime'} & set(sys.modules))",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr


def test_every_backend_can_be_named_wherever_one_is_chosen() -> None:
    """The modules of commands are light and the station file's types are literal, so both list the names again."""
    parser = argparse.ArgumentParser()
    calibrate.configure(parser)
    choices = next(action.choices for action in parser._actions if action.dest == "engine")
    assert choices is not None
    assert set(choices) == {"auto", *BACKENDS}
    station = {
        "station": "s",
        "recipes": {"r": {"bundle": "b"}},
        "cameras": {"c": {"kind": "folder", "path": "p"}},
    }
    for name in ("auto", *BACKENDS):
        config = parse_config({**station, "engine": {"backend": name}}, Path(), "station.toml")
        assert config.engine.backend == name


@pytest.mark.parametrize("backend", GPU_BACKENDS)
def test_a_gpu_backend_without_a_gpu_is_one_clear_line(
    uncalibrated_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(devices, "_LIBRARY", "libcuda-that-is-nowhere.so.1")
    with pytest.raises(EngineError) as refusal:
        open_engine(uncalibrated_bundle, backend)
    assert "\n" not in str(refusal.value)
    assert "NVIDIA" in str(refusal.value) or "pip install" in str(refusal.value)
