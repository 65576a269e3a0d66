"""The int8 network: what is quantised, what is not, and what comes back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from calibration.int8 import STEM_AND_HEAD, Int8Bundle, Setting, residual_blocks, restored, settings
from engines.backbones import BACKBONES
from engines.bank import Bank
from engines.bundle import Bundle, write_bundle
from engines.export import build_model
from engines.images import list_images, read_image
from engines.registry import open_engine
from trainer.weights import find_weights

Frames = list[NDArray[np.uint8]]
BLOCKS = ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]


@pytest.fixture(scope="module")
def tried(uncalibrated_bundle: Bundle, trained_frames: Frames) -> list[Setting]:
    return list(settings(uncalibrated_bundle, "onnxruntime", trained_frames))


@pytest.fixture(scope="module")
def original(uncalibrated_bundle: Bundle) -> onnx.ModelProto:
    return onnx.load_from_string(uncalibrated_bundle.read_network())


def integer_weights(model: onnx.ModelProto) -> set[str]:
    """Convolutions whose weights are stored as signed 8-bit integers."""
    constants = {item.name: item for item in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    found = set()
    for node in model.graph.node:
        if node.op_type == "Conv" and (maker := makers.get(node.input[1])) is not None:
            assert numpy_helper.to_array(constants[maker.input[0]]).dtype == np.int8
            found.add(node.name)
    return found


def map_error(bundle: Bundle, network: bytes, frames: Frames) -> float:
    """Deviation of an int8 network's maps from float32's, in deviations of the latter."""
    with (
        open_engine(bundle, "onnxruntime", "f32") as exact,
        open_engine(Int8Bundle.around(bundle, network), "onnxruntime", "int8") as engine,
    ):
        expected, found = (np.concatenate([e.infer(frame[None]).maps for frame in frames]) for e in (exact, engine))
    return float((found - expected).std() / expected.std())


def test_everything_is_quantised_but_the_scores_last_layers_and_the_map(
    tried: list[Setting], original: onnx.ModelProto
) -> None:
    convolutions = {node.name for node in original.graph.node if node.op_type == "Conv"}
    left = [convolutions - integer_weights(onnx.load_from_string(setting.network)) for setting in tried[:2]]
    assert left == [{"head.patches"}, {"conv1", "head.level2", "head.level3", "head.patches"}]
    model = onnx.load_from_string(tried[1].network)
    constants = {item.name: item for item in model.graph.initializer}
    for item in original.graph.initializer:
        if item.name.startswith(("conv1", "head", "map")):
            np.testing.assert_array_equal(numpy_helper.to_array(constants[item.name]), numpy_helper.to_array(item))


def test_the_search_in_a_bank_stays_in_floating_point(
    uncalibrated_bundle: Bundle, trained_frames: Frames, tmp_path: Path
) -> None:
    weights = find_weights("resnet18", "random", seed=0)
    bank = Bank(np.random.default_rng(0).random((64, 384), np.float32))
    network = build_model(
        BACKBONES["resnet18"], weights.arrays, bank, uncalibrated_bundle.info.preprocessing.input_size
    )
    bundle = write_bundle(tmp_path / "bank", uncalibrated_bundle.info, network.SerializeToString(), bank)
    first = onnx.load_from_string(next(settings(bundle, "onnxruntime", trained_frames[:8])).network)
    quantised = {name for node in first.graph.node if node.op_type == "QuantizeLinear" for name in node.input}
    assert "conv1" in integer_weights(first)
    assert not any(name.startswith(("search.", "bank.")) for name in quantised)
    assert map_error(bundle, first.SerializeToString(), trained_frames[:4]) < 0.5


def test_more_and_more_blocks_stay_in_floating_point(tried: list[Setting]) -> None:
    assert [len(setting.float_parts) for setting in tried] == [0, 2, 3, 4, 5]
    for fewer, more in pairwise(tried):
        assert more.float_parts[: len(fewer.float_parts)] == fewer.float_parts
        assert len(more.network) > len(fewer.network)
    for setting in tried:
        onnx.checker.check_model(onnx.load_from_string(setting.network), full_check=True)
    assert str(tried[0]) == "everything in int8"
    assert str(tried[1]) == "stem, head in floating point"


def test_it_is_a_quarter_of_the_size(tried: list[Setting], uncalibrated_bundle: Bundle) -> None:
    assert len(tried[0].network) < 0.4 * len(uncalibrated_bundle.read_network())


def test_int8_is_near_and_nearer_with_blocks_in_floating_point(
    tried: list[Setting], uncalibrated_bundle: Bundle, trained_frames: Frames
) -> None:
    errors = [map_error(uncalibrated_bundle, setting.network, trained_frames[:6]) for setting in tried]
    assert 0.005 < errors[-1] < errors[0] < 0.5


def test_restored_blocks_have_their_own_constants_back(tried: list[Setting], original: onnx.ModelProto) -> None:
    quantised = onnx.load_from_string(tried[0].network)
    assert residual_blocks(original) == BLOCKS
    model = restored(quantised, original, [*STEM_AND_HEAD, *BLOCKS])
    onnx.checker.check_model(model, full_check=True)
    assert integer_weights(model) == {"layer2.0.downsample.0", "layer3.0.downsample.0"}
    constants = {item.name: item for item in model.graph.initializer}
    for item in original.graph.initializer:
        if ".conv" in item.name:
            np.testing.assert_array_equal(numpy_helper.to_array(constants[item.name]), numpy_helper.to_array(item))


def test_nothing_restored_is_nothing_changed(tried: list[Setting], original: onnx.ModelProto) -> None:
    quantised = onnx.load_from_string(tried[0].network)
    again = restored(quantised, original, [])
    assert [node.SerializeToString() for node in again.graph.node] == [
        node.SerializeToString() for node in quantised.graph.node
    ]


@pytest.mark.parametrize("block", ["layer1.1", "layer3.0"])
def test_the_block_that_cannot_bear_8_bits_is_found_first(
    uncalibrated_bundle: Bundle,
    bundle_copy: Callable[[Bundle], Bundle],
    lopsided: Callable[[Bundle, Sequence[str]], Bundle],
    trained_frames: Frames,
    block: str,
) -> None:
    bundle = lopsided(bundle_copy(uncalibrated_bundle), [block])
    _, plain, rescued, *_ = settings(bundle, "onnxruntime", trained_frames)
    assert rescued.float_parts == ("stem", "head", block)
    errors = [map_error(bundle, setting.network, trained_frames[:4]) for setting in (plain, rescued)]
    assert errors[1] < 0.5 * errors[0]


OFFLINE = """
import pathlib, socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"network: {arguments}")

sys.addaudithook(refuse)
import numpy as np
from calibration.int8 import settings
from engines.backbones import BACKBONES
from engines.bank import Bank
from engines.bundle import Bundle, write_bundle
from engines.export import build_model
bundle = Bundle.open(sys.argv[1])
size = bundle.info.preprocessing.input_size
frames = list(np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8))
print(next(settings(bundle, "onnxruntime", frames)))
print(sorted(path.name for path in pathlib.Path.home().iterdir()))
"""


def test_no_telemetry_a_clean_home_and_a_clean_output(uncalibrated_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OFFLINE, str(uncalibrated_bundle.path)]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, "everything in int8\n[]\n"), done.stderr


def test_pictures_in_tiles_are_quantised_by_their_tiles(tiled_bundle: Bundle, plate_photos: Path) -> None:
    """Specks still are where the picture is most unusual, and more so than any place of a good plate."""
    good, specks = (
        [tiled_bundle.info.preprocessing(read_image(path)) for path in list_images(plate_photos / folder)]
        for folder in ("train/good", "test/speck")
    )
    quantised = list(islice(settings(tiled_bundle, "onnxruntime", good), 2))[1]
    with open_engine(Int8Bundle.around(tiled_bundle, quantised.network), "onnxruntime", "int8") as engine:
        limit = max(engine.infer(picture[None]).scores[0] for picture in good)
        found = engine.infer(np.stack(specks))
    assert (found.scores > limit).all()
    for anomaly_map in found.maps:
        y, x = np.unravel_index(anomaly_map.argmax(), anomaly_map.shape)
        assert np.hypot(x - 384 * 238 / 640, y - 192 * 180 / 480) < 16
