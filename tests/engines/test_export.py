"""The exported graph computes what SimpleNet's layers compute one by one, in both float32 engines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines.backbones import BACKBONES
from engines.backends.onnxruntime import onnxruntime
from engines.engine import Inspection
from engines.errors import UsageError, WeightsError
from engines.export import build_model, map_matrix
from engines.head import Head

onnx = pytest.importorskip("onnx")
ndimage = pytest.importorskip("scipy.ndimage")

Arrays = Mapping[str, NDArray[np.float32]]
MakeHead = Callable[..., Head]
RandomWeights = Callable[[str], Arrays]
Reference = Callable[..., Inspection]
TOLERANCE = 1e-4


def noise(frames: int, size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (frames, size, size, 3), np.uint8)


def with_onnxruntime(model: bytes, frames: NDArray[np.uint8]) -> Inspection:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return Inspection(*session.run(["scores", "maps", "embeddings"], {"frames": frames}))


def with_openvino(model: bytes, frames: NDArray[np.uint8]) -> Inspection:
    openvino: Any = pytest.importorskip("engines.backends.openvino").openvino
    compiled = openvino.compile_model(openvino.Core().read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    outputs = compiled(frames)
    return Inspection(*(outputs[name].copy() for name in ("scores", "maps", "embeddings")))


RUNNERS = pytest.mark.parametrize("run", [with_onnxruntime, with_openvino])


def assert_equal(found: Inspection, expected: Inspection) -> None:
    for name in ("scores", "maps", "embeddings"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == np.float32
        assert ours.shape == theirs.shape
        scale = max(1.0, float(np.abs(theirs).max()))
        assert np.abs(ours - theirs).max() <= TOLERANCE * scale, name


@pytest.mark.parametrize(("size", "grid"), [(224, 28), (256, 32), (128, 16), (16, 2), (40, 5), (8, 1)])
def test_map_matrix_is_scipys_gaussian_of_the_bilinear_map(size: int, grid: int) -> None:
    patches = np.random.default_rng(0).normal(0, 1, (grid, grid))
    tensor = torch.from_numpy(patches)[None, None]
    smooth = torch.nn.functional.interpolate(tensor, (size, size), mode="bilinear", align_corners=False)[0, 0]
    expected = ndimage.gaussian_filter(smooth.numpy(), sigma=4)
    matrix = map_matrix(size, grid)
    assert np.abs(matrix @ patches @ matrix.T - expected).max() <= 1e-5 * np.abs(expected).max()


@RUNNERS
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_graph_equals_torch_on_noise(
    name: str,
    run: Callable[..., Inspection],
    make_head: MakeHead,
    random_weights: RandomWeights,
    reference: Reference,
) -> None:
    head, weights, frames = make_head(sum(BACKBONES[name].channels)), random_weights(name), noise(2, 96)
    model = build_model(BACKBONES[name], weights, head, 96)
    expected = reference(name, weights, head, frames)
    assert expected.maps.std() > 1e-3
    assert_equal(run(model.SerializeToString(), frames), expected)


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"resnet18", "resnet50"}))
def test_every_backbone_has_its_layers(
    name: str, make_head: MakeHead, random_weights: RandomWeights, reference: Reference
) -> None:
    head, weights, frames = make_head(sum(BACKBONES[name].channels)), random_weights(name), noise(1, 48)
    model = build_model(BACKBONES[name], weights, head, 48)
    assert_equal(with_onnxruntime(model.SerializeToString(), frames), reference(name, weights, head, frames))


@RUNNERS
@pytest.mark.shared
def test_graph_equals_torch_on_photographs(
    photographs: NDArray[np.uint8],
    run: Callable[..., Inspection],
    make_head: MakeHead,
    resnet18_weights: Arrays,
    reference: Reference,
) -> None:
    head = make_head(384, hidden=1024)
    model = build_model(BACKBONES["resnet18"], resnet18_weights, head, 224)
    expected = reference("resnet18", resnet18_weights, head, photographs)
    assert expected.maps.std() > 1e-3
    assert_equal(run(model.SerializeToString(), photographs), expected)


@RUNNERS
def test_the_batch_does_not_matter(
    run: Callable[..., Inspection], make_head: MakeHead, random_weights: RandomWeights
) -> None:
    model = build_model(BACKBONES["resnet18"], random_weights("resnet18"), make_head(384), 64).SerializeToString()
    frames = noise(5, 64)
    together = run(model, frames)
    for index in range(5):
        alone = run(model, frames[index : index + 1])
        np.testing.assert_allclose(together.scores[index], alone.scores[0], atol=1e-5)
        np.testing.assert_allclose(together.maps[index], alone.maps[0], atol=1e-5)


@pytest.mark.parametrize("opset", [17, 18, 21])
def test_opsets_agree(opset: int, make_head: MakeHead, random_weights: RandomWeights) -> None:
    weights, head, frames = random_weights("resnet18"), make_head(384), noise(1, 64)
    oldest, other = (build_model(BACKBONES["resnet18"], weights, head, 64, opset=number) for number in (17, opset))
    assert other.opset_import[0].version == opset
    expected = with_onnxruntime(oldest.SerializeToString(), frames)
    assert_equal(with_onnxruntime(other.SerializeToString(), frames), expected)


def test_the_graph_can_become_half_precision(make_head: MakeHead, random_weights: RandomWeights) -> None:
    """Every real constant is float32 within half's range, and nothing but the first cast sees uint8."""
    model = build_model(BACKBONES["resnet18"], random_weights("resnet18"), make_head(384), 64)
    first, *others = model.graph.node
    assert (first.op_type, first.input[0]) == ("Cast", "frames")
    assert all("frames" not in node.input and node.op_type != "Cast" for node in others)
    for constant in model.graph.initializer:
        array = onnx.numpy_helper.to_array(constant)
        assert array.dtype in (np.float32, np.int64), constant.name
        assert np.abs(array).max() < 65504, constant.name


def test_the_same_arrays_give_the_same_bytes(make_head: MakeHead, random_weights: RandomWeights) -> None:
    weights, head = random_weights("resnet18"), make_head(384)
    first, second = (build_model(BACKBONES["resnet18"], weights, head, 64).SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("size", [0, 8, 100, 225])
def test_sizes_off_the_grid_are_refused(size: int, make_head: MakeHead) -> None:
    with pytest.raises(UsageError, match=f"multiple of 16, found {size}"):
        build_model(BACKBONES["resnet18"], {}, make_head(384), size)


def test_a_head_of_another_backbone_is_refused(make_head: MakeHead) -> None:
    with pytest.raises(WeightsError, match=r"head for 384 channels .resnet18., found one for 6"):
        build_model(BACKBONES["resnet18"], {}, make_head(6), 64)


def test_missing_weights_are_named(make_head: MakeHead, random_weights: RandomWeights) -> None:
    weights = {key: value for key, value in random_weights("resnet18").items() if key != "layer2.1.bn2.running_var"}
    with pytest.raises(WeightsError, match=r"lack layer2\.1\.bn2\.running_var"):
        build_model(BACKBONES["resnet18"], weights, make_head(384), 64)


def test_weights_of_another_backbone_are_refused(make_head: MakeHead, random_weights: RandomWeights) -> None:
    with pytest.raises(WeightsError, match=r"expected layer1\.0\.conv1\.weight of shape .64, 64, 1, 1."):
        build_model(BACKBONES["resnet50"], random_weights("resnet18"), make_head(1536), 64)


def test_without_onnx_the_extra_is_named(make_head: MakeHead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"needs onnx.*edge-inspect\[train\]"):
        build_model(BACKBONES["resnet18"], {}, make_head(384), 64)
