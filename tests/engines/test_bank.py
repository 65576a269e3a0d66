"""The bank on disk, and its graph against distances taken one by one in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines import half
from engines.backbones import BACKBONES
from engines.backends.onnxruntime import onnxruntime
from engines.bank import Bank
from engines.errors import BundleError
from engines.export import build_model
from engines.head import decode_head, encode_head
from trainer.backbone import build_backbone
from trainer.features import patch_features

onnx = pytest.importorskip("onnx")
openvino = pytest.importorskip("engines.backends.openvino").openvino
safetensors = pytest.importorskip("safetensors.numpy")

Array = NDArray[np.float32]
Frames = NDArray[np.uint8]
SIZE = 64
BANKS = pytest.mark.parametrize("neighbours", [1, 5], ids=["patchcore", "anoco"])


@pytest.fixture(scope="module")
def weights(random_weights: Callable[[str], Mapping[str, Array]]) -> Mapping[str, Array]:
    return random_weights("resnet18")


def noise(seed: int, frames: int) -> Frames:
    """Noise that is coarse in one frame and fine in another, so that their patches differ as those of parts do."""
    rng = np.random.default_rng(seed)
    coarse = (rng.integers(0, 256, (SIZE // side, SIZE // side, 3), np.uint8) for side in (1, 2, 4, 8))
    return np.stack([np.kron(c, np.ones((SIZE // len(c),) * 2 + (1,), np.uint8)) for c in coarse])[:frames]


@pytest.fixture(scope="module")
def vectors(weights: Mapping[str, Array]) -> Array:
    patches = patch_features(build_backbone("resnet18", weights), noise(1, 4), torch.device("cpu"))
    return patches.flatten(0, 1).numpy()[::2]


@pytest.fixture(scope="module")
def queries(weights: Mapping[str, Array]) -> Array:
    return patch_features(build_backbone("resnet18", weights), noise(2, 3), torch.device("cpu")).numpy()


def expected_scores(bank: Bank, queries: Array) -> NDArray[np.float64]:
    """Of each patch `(N, P, C)`, in float64 and as the papers say it."""
    vectors, flat = bank.vectors.astype(np.float64), queries.reshape(-1, queries.shape[2]).astype(np.float64)
    if bank.neighbours == 1:
        scores = np.array([np.linalg.norm(vectors - query, axis=1).min() for query in flat])
    else:
        vectors, flat = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, flat))
        scores = np.empty(len(flat))
        for index, query in enumerate(flat):
            cosines = vectors @ query
            nearest = np.argsort(-cosines)[: bank.neighbours]
            affinity = np.maximum(cosines[nearest], 0)
            scores[index] = np.linalg.norm(affinity @ vectors[nearest] / affinity.sum() - query)
    return scores.reshape(queries.shape[:2])


def network(bank: Bank, weights: Mapping[str, Array], opset: int = 17) -> bytes:
    return build_model(BACKBONES["resnet18"], weights, bank, SIZE, opset).SerializeToString()


def with_onnxruntime(model: bytes, frames: Frames) -> Array:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"frames": frames})[0]


def with_openvino(model: bytes, frames: Frames, precision: str = "f32") -> Array:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return compiled(frames)["scores"].copy()


@BANKS
@pytest.mark.parametrize("run", [with_onnxruntime, with_openvino])
def test_the_graph_scores_as_the_papers_say(
    run: Callable[..., Array], neighbours: int, weights: Mapping[str, Array], vectors: Array, queries: Array
) -> None:
    bank = Bank(vectors, neighbours)
    expected = expected_scores(bank, queries).max(axis=1)
    assert expected.min() > 0.05
    np.testing.assert_allclose(run(network(bank, weights), noise(2, 3)), expected, rtol=2e-4)


@BANKS
def test_the_batch_and_the_opset_do_not_matter(neighbours: int, weights: Mapping[str, Array], vectors: Array) -> None:
    model, frames = network(Bank(vectors, neighbours), weights), noise(2, 3)
    together = with_onnxruntime(model, frames)
    alone = [with_onnxruntime(model, frame[None])[0] for frame in frames]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    newer = network(Bank(vectors, neighbours), weights, opset=21)
    np.testing.assert_allclose(with_onnxruntime(newer, frames), together, rtol=1e-5)


def test_what_is_in_the_bank_is_at_no_distance(weights: Mapping[str, Array]) -> None:
    patches = patch_features(build_backbone("resnet18", weights), noise(2, 1), torch.device("cpu"))
    scores = with_onnxruntime(network(Bank(patches[0].numpy()), weights), noise(2, 1))
    assert scores[0] < 2e-3


@BANKS
def test_bfloat16_costs_little_because_the_distance_is_taken_again(
    neighbours: int, weights: Mapping[str, Array], vectors: Array
) -> None:
    model, frames = network(Bank(vectors, neighbours), weights), noise(2, 3)
    exact = with_openvino(model, frames)
    np.testing.assert_allclose(with_openvino(model, frames, "bf16"), exact, rtol=0.06)


@BANKS
def test_half_precision_keeps_the_distance_in_float32(
    neighbours: int, weights: Mapping[str, Array], vectors: Array
) -> None:
    model, frames = network(Bank(vectors, neighbours), weights), noise(2, 3)
    derived = half.derive(model, half.extreme_frames(SIZE))
    kept = {entry.layer for entry in derived.ranges if entry.kept}
    assert {"bank.found", "bank.ways", "bank.score.length", "head.patches"} <= kept
    assert not {"search.closeness", "search.nearest", "layer3.1.conv2"} & kept
    np.testing.assert_allclose(with_onnxruntime(derived.data, frames), with_onnxruntime(model, frames), rtol=0.01)


def test_the_product_of_the_search_cannot_overflow_unseen(weights: Mapping[str, Array], vectors: Array) -> None:
    entries = half.measure_ranges(onnx.load_model_from_string(network(Bank(vectors), weights)), noise(2, 1))
    peak, total = entries["search.closeness"]
    assert total > peak > 0


@BANKS
def test_the_file_gives_back_the_bank(neighbours: int, vectors: Array) -> None:
    loaded = decode_head(encode_head(Bank(vectors, neighbours)), "head.safetensors")
    assert isinstance(loaded, Bank)
    assert loaded.neighbours == neighbours
    np.testing.assert_array_equal(loaded.vectors, vectors)


@pytest.mark.parametrize(
    "change",
    [{"vectors": np.zeros(6, np.float32)}, {"vectors": np.zeros((0, 4), np.float32)}, {"neighbours": 0},
     {"neighbours": 9}],
)  # fmt: skip
def test_an_impossible_bank_is_refused(change: dict[str, object]) -> None:
    data = encode_head(replace(Bank(np.ones((8, 4), np.float32)), **change))
    with pytest.raises(BundleError, match=r"head: expected vectors as float32 \(K, C\).*train the bundle again"):
        decode_head(data, "head")
