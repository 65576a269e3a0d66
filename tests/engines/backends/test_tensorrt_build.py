"""A bundle's engine: the stored one while it is the right one, a new one otherwise, and never a wrong one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from engines import half
from engines.backends import tensorrt_build
from engines.backends.tensorrt_build import ensure_engine, read_report
from engines.bundle import Bundle
from engines.cuda import devices
from engines.cuda.devices import Gpu
from engines.engine_cache import EngineFileError, store_engine
from engines.errors import EngineError, UsageError
from tests.engines.backends.tensorrt_api import RecordedLibrary

pytest.importorskip("onnx")

CARD = Gpu(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30, "580.95.05", "13.0")


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[rtx]'")


@pytest.fixture
def bundle(calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Bundle:
    return bundle_copy(calibrated_bundle)


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_LIBRARY", "libcuda-that-is-nowhere.so.1")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedLibrary:
    """A workstation with a GPU and TensorRT 10.3, as far as building goes."""
    library = RecordedLibrary("10.3.0")
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    monkeypatch.setattr(tensorrt_build, "require_gpu", lambda: CARD)
    return library


@pytest.mark.parametrize("target", ["sm86", "sm89", "sm120"])
def test_an_engine_is_built_once(rtx: Any, without_gpu: None, bundle: Bundle, target: str) -> None:
    said: list[str] = []
    built = ensure_engine(bundle, "tensorrt-rtx", 1, progress=said.append, target=target)
    assert said[0] == f"there is no engine at {built.path.parent}; building it"
    assert built.key.target == target
    assert built.key.version == rtx.__version__
    assert built.path.read_bytes() == built.data

    said.clear()
    again = ensure_engine(bundle, "tensorrt-rtx", 1, may_build=False, progress=said.append, target=target)
    assert (again.data, again.key, said) == (built.data, built.key, [])
    assert Bundle.open(bundle.path).digest == bundle.digest


def test_a_stale_engine_is_built_anew_and_the_reason_told(rtx: Any, without_gpu: None, bundle: Bundle) -> None:
    built = ensure_engine(bundle, "tensorrt-rtx", 1, target="sm89")
    store_engine(bundle, msgspec.structs.replace(built.key, version="1.5.0.114"), b"old", b"{}")
    said: list[str] = []
    assert ensure_engine(bundle, "tensorrt-rtx", 1, progress=said.append, target="sm89").key == built.key
    assert said[0].endswith(f"built for something else: version was 1.5.0.114 and is {rtx.__version__}; building it")


def test_a_harmed_engine_is_built_anew_or_refused(rtx: Any, without_gpu: None, bundle: Bundle) -> None:
    built = ensure_engine(bundle, "tensorrt-rtx", 1, target="sm89")
    built.path.write_bytes(built.data[: len(built.data) // 2])
    with pytest.raises(EngineFileError) as refusal:
        ensure_engine(bundle, "tensorrt-rtx", 1, may_build=False, target="sm89")
    assert "was altered or cut short" in str(refusal.value)
    command = f"run: edge-inspect build --bundle {bundle.path} --engine tensorrt-rtx --batch 1 --target sm89"
    assert str(refusal.value).endswith(command)
    assert len(ensure_engine(bundle, "tensorrt-rtx", 1, target="sm89").data) > len(built.data) // 2


def test_the_report_says_what_was_built_and_how_large_numbers_get(rtx: Any, without_gpu: None, bundle: Bundle) -> None:
    size = bundle.info.preprocessing.input_size
    photographs = np.full((3, size, size, 3), 90, np.uint8)
    built = ensure_engine(bundle, "tensorrt-rtx", 1, target="sm89", photographs=photographs)
    report = read_report(built)
    assert (report.product, report.bundle, report.key) == ("flange", bundle.digest, built.key)
    assert report.bytes == len(built.data)
    golden = len(bundle.latest_calibration.golden)
    assert golden
    assert report.frames == {"extreme": 4, "golden parts": golden, "photographs": 3}
    assert len(report.ranges) == len({entry.layer for entry in report.ranges}) > 50
    halves = [entry.headroom for entry in report.ranges if not entry.kept]
    assert report.least_headroom == pytest.approx(min(halves))
    assert min(halves) > half.HEADROOM
    assert set(report.kept_in_float32) == {entry.layer for entry in report.ranges if entry.kept}


def test_an_uncalibrated_bundle_can_be_built(
    rtx: Any, without_gpu: None, uncalibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]
) -> None:
    built = ensure_engine(bundle_copy(uncalibrated_bundle), "tensorrt-rtx", 1, target="sm89")
    assert read_report(built).frames == {"extreme": 4}


def test_photographs_of_another_size_are_refused(rtx: Any, without_gpu: None, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"expected frames as uint8 of shape \(N, 128, 128, 3\)"):
        ensure_engine(bundle, "tensorrt-rtx", 1, target="sm89", photographs=np.zeros((1, 64, 64, 3), np.uint8))


def test_tensorrt_is_built_for_the_gpu_at_hand(recorded: RecordedLibrary, bundle: Bundle) -> None:
    built = ensure_engine(bundle, "tensorrt", 1)
    key = built.key
    assert (key.gpu, key.target, key.driver, key.cuda) == (CARD.name, "sm89", "580.95.05", "13.0")
    assert recorded.called("create_timing_cache") == [(b"",)]
    # A second batch starts with the timings of the first.
    ensure_engine(bundle, "tensorrt", 4)
    assert recorded.called("create_timing_cache") == [(b"",), (b"timings",)]


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (Gpu(0, "NVIDIA L4", (8, 9), 1, "580.95.05", "13.0"), "gpu was NVIDIA GeForce RTX 4090 and is NVIDIA L4"),
        (Gpu(0, CARD.name, (8, 9), 1, "590.44.01", "13.1"), "driver was 580.95.05 and is 590.44.01; cuda was 13.0"),
    ],
)
def test_an_engine_of_another_card_or_driver_is_not_taken(
    recorded: RecordedLibrary, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, gpu: Gpu, said: str
) -> None:
    ensure_engine(bundle, "tensorrt", 1)
    monkeypatch.setattr(tensorrt_build, "require_gpu", lambda: gpu)
    with pytest.raises(EngineFileError, match=said):
        ensure_engine(bundle, "tensorrt", 1, may_build=False)


def test_a_bundle_that_was_trained_anew_needs_another_engine(recorded: RecordedLibrary, bundle: Bundle) -> None:
    from engines.bundle import update_bundle

    ensure_engine(bundle, "tensorrt", 1)
    # The same graph with another name is another file.
    import onnx

    model = onnx.load_model_from_string(bundle.read_network())
    model.producer_version = "another"
    newer = update_bundle(bundle, bundle.info, networks={"f32": model.SerializeToString()})
    with pytest.raises(EngineFileError, match=r"model was [0-9a-f]{12}\.\.\. and is [0-9a-f]{12}"):
        ensure_engine(newer, "tensorrt", 1, may_build=False)


def test_recalibrating_keeps_the_engine(recorded: RecordedLibrary, bundle: Bundle) -> None:
    """Calibrating needs the engine, and changes the bundle."""
    from engines.bundle import update_bundle

    built = ensure_engine(bundle, "tensorrt", 1)
    calibration = msgspec.structs.replace(bundle.latest_calibration, created="2027-01-01T00:00:00Z")
    newer = update_bundle(bundle, msgspec.structs.replace(bundle.info, calibrations=(calibration,)))
    assert newer.digest != bundle.digest
    assert ensure_engine(newer, "tensorrt", 1, may_build=False).data == built.data


def test_a_network_altered_after_opening_is_not_built(rtx: Any, without_gpu: None, bundle: Bundle) -> None:
    network = bytearray(bundle.model_path.read_bytes())
    network[len(network) // 2] ^= 1
    bundle.model_path.write_bytes(network)
    with pytest.raises(Exception, match=r"model\.onnx was altered"):
        ensure_engine(bundle, "tensorrt-rtx", 1, target="sm89")


def test_without_a_gpu_tensorrt_is_refused_before_it_is_imported(without_gpu: None, bundle: Bundle) -> None:
    code = """
import sys
from engines.bundle import Bundle
from engines.backends import tensorrt_build
from engines.cuda import devices
from engines.errors import EngineError
devices._LIBRARY = "libcuda-that-is-nowhere.so.1"
try:
    tensorrt_build.ensure_engine(Bundle.open(sys.argv[1]), "tensorrt", 1)
except EngineError as error:
    print(str(error).count("\\n"), str(error)[:31], {"tensorrt", "onnx"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code, str(bundle.path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0 no NVIDIA GPU can be used here, set()\n"), done.stderr


def test_without_a_gpu_tensorrt_rtx_hints_at_targets(rtx: Any, without_gpu: None, bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"no NVIDIA GPU can be used here.*such as --target sm89"):
        ensure_engine(bundle, "tensorrt-rtx", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cuda", 1), "no TensorRT flavour 'cuda'; choose tensorrt or tensorrt-rtx"),
        (("tensorrt", 0), "expected a batch of at least 1, found 0"),
        (("tensorrt", 1, True, None, "sm89"), "TensorRT builds for the GPU at hand alone: leave the target sm89 out"),
    ],
)
def test_wrong_orders_are_refused(bundle: Bundle, arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ensure_engine(bundle, *arguments)


def test_a_target_that_the_library_lacks_is_refused(rtx: Any, bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"has no target sm90; it builds for sm75, sm80, sm86, sm89, sm120"):
        ensure_engine(bundle, "tensorrt-rtx", 1, target="sm90")
