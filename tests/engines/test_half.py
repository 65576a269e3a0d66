"""The half-precision network: one type a layer, no overflow, and float32's scores to a hundredth of their spread."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.onnx_in_torch import run_in_torch
from calibration.golden import golden_tolerance
from calibration.threshold import conformal_threshold
from engines import half
from engines.backbones import BACKBONES
from engines.backends.onnxruntime import onnxruntime
from engines.bundle import Bundle, Parity
from engines.engine import Inspection
from engines.errors import EngineError, UsageError
from engines.export import build_model
from engines.head import Head
from engines.images import list_images, read_image
from engines.preprocess import Preprocessing

onnx = pytest.importorskip("onnx")
metrics = pytest.importorskip("sklearn.metrics")

Frames = NDArray[np.uint8]
SIZE = 64


@pytest.fixture(scope="module")
def model(make_head: Callable[..., Head], random_weights: Callable[[str], Mapping[str, NDArray[np.float32]]]) -> bytes:
    network = build_model(BACKBONES["resnet18"], random_weights("resnet18"), make_head(384), SIZE)
    return network.SerializeToString()


@pytest.fixture(scope="module")
def derived(model: bytes) -> half.HalfNetwork:
    return half.derive(model, half.extreme_frames(SIZE))


def run(network: bytes, frames: Frames) -> Inspection:
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    results = [session.run(["scores", "maps", "embeddings"], {"frames": frame[None]}) for frame in frames]
    return Inspection(*(np.concatenate(parts) for parts in zip(*results, strict=True)))


def types_of(network: bytes) -> tuple[onnx.ModelProto, dict[str, int]]:
    """The network and the element type of every tensor in it, as ONNX infers them."""
    model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(network), strict_mode=True)
    graph = model.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    return model, types | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_no_layer_mixes_types(derived: half.HalfNetwork) -> None:
    model, types = types_of(derived.data)
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16}
    for node in model.graph.node:
        read = node.input[:1] if node.op_type == "Resize" else node.input
        kinds = {types[name] for name in (*read, *node.output) if types[name] in floats}
        assert len(kinds) == (2 if node.op_type == "Cast" and node.name != "pixels" else 1), node.name


def test_the_frames_are_cast_before_anything_else(derived: half.HalfNetwork) -> None:
    model, types = types_of(derived.data)
    first, *others = model.graph.node
    assert (first.op_type, list(first.input)) == ("Cast", ["frames"])
    assert all("frames" not in node.input for node in others)
    assert types["frames"] == onnx.TensorProto.UINT8
    assert {types[output.name] for output in model.graph.output} == {onnx.TensorProto.FLOAT}


def test_float32_is_only_what_is_said_to_be(derived: half.HalfNetwork) -> None:
    model, types = types_of(derived.data)
    kept = {entry.layer for entry in derived.ranges if entry.kept}
    assert {"head.patches", "map.rows", "map.blurred", "layer2.1.relu.mean"} <= kept
    assert not any(layer.startswith(("layer1", "conv1", "head.level")) for layer in kept)
    for node in model.graph.node:
        if node.op_type != "Cast":
            assert (types[node.output[0]] == onnx.TensorProto.FLOAT) == (node.name in kept), node.name


def test_what_is_not_derived_stays(model: bytes, derived: half.HalfNetwork) -> None:
    before, after = onnx.load_model_from_string(model), onnx.load_model_from_string(derived.data)
    assert [value.SerializeToString() for value in (*before.graph.input, *before.graph.output)] == [
        value.SerializeToString() for value in (*after.graph.input, *after.graph.output)
    ]
    assert after.opset_import == before.opset_import
    assert len(derived.data) < 0.55 * len(model)


def test_the_same_bytes_every_time(model: bytes, derived: half.HalfNetwork) -> None:
    assert half.derive(model, half.extreme_frames(SIZE)).data == derived.data


def test_the_recipe_has_its_number(derived: half.HalfNetwork) -> None:
    """Engines are found by the recipe's number. If this fails because the rules changed, raise it with the digest."""
    model, types = types_of(derived.data)
    rows = [
        (node.op_type, *((name, types[name]) for name in (*node.input, *node.output) if name))
        for node in model.graph.node
    ]
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:12]
    assert (half.RECIPE, digest) == (1, "8960374b3dc5")


def test_ranges_are_those_of_the_network(model: bytes, derived: half.HalfNetwork) -> None:
    values = run_in_torch(model, half.extreme_frames(SIZE))
    layers = [entry.layer for entry in derived.ranges]
    assert layers == [node.name for node in onnx.load_model_from_string(model).graph.node]
    for entry in derived.ranges:
        expected = float(values[entry.layer].abs().max())
        assert entry.peak == pytest.approx(expected, rel=1e-3, abs=1e-4), entry.layer
        assert entry.sum >= entry.peak * (1 - 1e-5), entry.layer


def test_the_sum_is_that_of_absolute_terms(model: bytes, derived: half.HalfNetwork) -> None:
    values = run_in_torch(model, half.extreme_frames(SIZE))
    weight, bias = (values[f"conv1.{name}"].abs() for name in ("weight", "bias"))
    expected = torch.nn.functional.conv2d(values["centred"].abs(), weight, bias, 2, 3).max()
    found = next(entry for entry in derived.ranges if entry.layer == "conv1")
    assert found.sum == pytest.approx(float(expected), rel=1e-4)
    assert found.headroom == pytest.approx(half.HALF_MAX / found.sum)


def amplified(model: bytes, layer: str, factor: float) -> bytes:
    """The same network with one convolution's weights and bias `factor` times as large."""
    network = onnx.load_model_from_string(model)
    for tensor in network.graph.initializer:
        if tensor.name in (f"{layer}.weight", f"{layer}.bias"):
            array = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return network.SerializeToString()


@pytest.fixture(scope="module")
def overflowing(model: bytes) -> bytes:
    """A network whose first block goes far beyond half precision's range, and whose second comes back into it."""
    return amplified(amplified(model, "layer1.0.conv1", 1e6), "layer1.0.conv2", 1e-6)


def test_an_overflow_is_prevented(overflowing: bytes, model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = half.extreme_frames(SIZE)
    found = half.derive(overflowing, frames)
    kept = {entry.layer: entry.kept for entry in found.ranges if entry.kept and entry.layer.startswith("layer")}
    # The convolution that overflows, what passes its numbers on, and what reads them; not the rest of the network.
    assert set(kept) - {"layer2.1.relu.mean", "layer3.1.relu.mean"} == {
        "layer1.0.conv1",
        "layer1.0.relu1",
        "layer1.0.conv2",
    }
    assert "times its largest number" in kept["layer1.0.conv1"]
    values = run_in_torch(found.data, frames)
    expected = run_in_torch(overflowing, frames)
    assert all(values[name].isfinite().all() for name in ("scores", "maps", "embeddings"))
    assert (values["head.patches"] - expected["head.patches"]).std() < 0.01 * expected["head.patches"].std()
    # Without the prevention it would have overflowed, so the test can fail.
    monkeypatch.setattr(half, "HEADROOM", 0.0)
    with pytest.warns(RuntimeWarning, match="overflow"):
        unprotected = run_in_torch(half.derive(overflowing, frames).data, frames)
    assert not unprotected["layer1.0.conv1"].isfinite().all()


def test_weights_beyond_half_stay_float32(model: bytes) -> None:
    network = onnx.load_model_from_string(model)
    weight = next(tensor for tensor in network.graph.initializer if tensor.name == "layer1.0.conv1.weight")
    array = onnx.numpy_helper.to_array(weight).copy()
    array[0, 0] = 0
    array[0, 0, 0, 0] = 1e5
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    # Its input is black, so that no product shows how large the weight is.
    frames = np.full((1, SIZE, SIZE, 3), 124, np.uint8)
    found = half.derive(network.SerializeToString(), frames)
    assert "times its largest number" in next(e.kept for e in found.ranges if e.layer == "layer1.0.conv1")


def test_a_network_without_finite_numbers_is_refused(model: bytes) -> None:
    with pytest.raises(EngineError, match=r"layer layer1\.0\.conv1.* no finite numbers even in float32"):
        half.derive(amplified(model, "layer1.0.conv1", 1e38), half.extreme_frames(SIZE))


def test_without_onnx_the_extra_is_named(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"needs onnx.*edge-inspect\[tensorrt\]"):
        half.derive(model, half.extreme_frames(SIZE))


def test_the_widest_backbone_becomes_half(
    make_head: Callable[..., Head], random_weights: Callable[[str], Mapping[str, NDArray[np.float32]]]
) -> None:
    name = "wide_resnet50_2"
    channels = sum(BACKBONES[name].channels)
    network = build_model(BACKBONES[name], random_weights(name), make_head(channels), 32).SerializeToString()
    frames = half.extreme_frames(32)
    found, expected = run_in_torch(half.derive(network, frames).data, frames), run_in_torch(network, frames)
    # Over the largest value: random deep networks give nearly the same scores everywhere, which have no deviation.
    for output in ("head.patches", "maps", "embeddings"):
        assert (found[output] - expected[output]).abs().max() < 0.01 * expected[output].abs().max(), output


def assert_as_good_as_float32(bundle: Bundle, good: Frames, defects: Frames) -> None:
    """On ONNX Runtime, whose CPU kernels compute half in float32: a reference with a tolerance.."""
    network = bundle.read_network()
    derived = half.derive(network, np.concatenate([half.extreme_frames(good.shape[1]), good[:8]])).data
    frames = np.concatenate([good, defects])
    found, expected = run(derived, frames), run(network, frames)
    truth = np.repeat([0, 1], [len(good), len(defects)])
    assert metrics.roc_auc_score(truth, found.scores) == pytest.approx(
        metrics.roc_auc_score(truth, expected.scores), abs=0.001
    )
    assert_same_verdicts(found.scores, expected.scores, len(good))


def assert_same_verdicts(found: NDArray[np.float32], expected: NDArray[np.float32], good: int) -> None:
    """Half the good parts set threshold and tolerance, as a calibration does; on all the others the verdicts agree."""
    part = slice(0, good // 2)
    spread, error = float(expected[part].std()), float(np.abs(found[part] - expected[part]).max())
    row = Parity("tensorrt", "f16", "onnxruntime f32", error, 0.0, spread, good // 2, 0)
    tolerance = golden_tolerance(expected[part], ("tensorrt", "f16"), [row])
    assert tolerance < 0.1 * spread
    threshold = conformal_threshold(expected[part], 0.2).value
    flipped = (found > threshold) != (expected > threshold)
    assert np.all(np.abs(expected[flipped] - threshold) <= tolerance)


def assert_patch_scores_agree(bundle: Bundle, frames: Frames) -> None:
    """With every stored number truly rounded to half: 1 % of the deviation in the mean, 3 % for the worst patch."""
    network = bundle.read_network()
    derived = half.derive(network, np.concatenate([half.extreme_frames(frames.shape[1]), frames])).data
    expected = run_in_torch(network, frames)
    found = run_in_torch(derived, frames)
    for output in ("head.patches", "maps"):
        error = (found[output] - expected[output]).abs() / expected[output].std()
        assert error.square().mean().sqrt() < 0.01, output
        assert error.max() < 0.03, output


def test_rendered_parts_score_as_in_float32(uncalibrated_bundle: Bundle, part_photos: Path) -> None:
    preprocessing = uncalibrated_bundle.info.preprocessing
    good, defects = (
        np.stack([preprocessing(read_image(path)) for path in list_images(part_photos / "test" / name)])
        for name in ("good", "scratch")
    )
    assert_as_good_as_float32(uncalibrated_bundle, good, defects)
    assert_patch_scores_agree(uncalibrated_bundle, np.concatenate([good[:2], defects[:2]]))


@pytest.mark.shared
@pytest.mark.parametrize("product", ["magnetic_tile", "mvtec_screw", "casting_impeller"])
def test_photographs_score_as_in_float32(
    product: str,
    shared_dir: Path,
    tmp_path: Path,
    make_bundle: Callable[[Path, str, Sequence[Path], Preprocessing], Bundle],
) -> None:
    data = shared_dir / "data" / product
    weights = shared_dir / "weights" / "resnet18-imagenet1k-v1-to-layer3.safetensors"
    preprocessing = Preprocessing()
    bundle = make_bundle(tmp_path / "bundle", str(weights), list_images(data / "train" / "good")[:24], preprocessing)
    kinds = sorted(folder for folder in (data / "test").iterdir() if folder.name != "good")
    paths = [path for folder in kinds for path in list_images(folder)[: 40 // len(kinds)]]
    good, defects = (
        np.stack([preprocessing(read_image(path)) for path in some])
        for some in (list_images(data / "test" / "good")[:40], paths)
    )
    assert_as_good_as_float32(bundle, good, defects)
    assert_patch_scores_agree(bundle, np.stack([good[0], defects[0]]))
