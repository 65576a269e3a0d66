"""Fixtures of the calibration's tests: frames, and engines that are really there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from calibration.procedure import available_engines
from engines.bundle import Bundle, update_bundle
from engines.engine import Engine
from engines.images import list_images, read_image
from engines.registry import open_engine

OpenNamed = Callable[..., Engine]
Nudge = Callable[[Bundle, float], Bundle]


@pytest.fixture(scope="session")
def good_frames(part_photos: Path, uncalibrated_bundle: Bundle) -> NDArray[np.uint8]:
    """The 24 parts of test/good as the network sees them."""
    preprocessing = uncalibrated_bundle.info.preprocessing
    return np.stack([preprocessing(read_image(path)) for path in list_images(part_photos / "test" / "good")])


@pytest.fixture
def open_named() -> Iterator[OpenNamed]:
    """`open_named(bundle, backend, precision)`: a real engine, closed after the test; skips where there is none."""
    with ExitStack() as stack:

        def open_one(bundle: Bundle, backend: str, precision: str) -> Engine:
            if (backend, precision) not in available_engines():
                pytest.skip(f"this machine has no {backend} {precision}")
            return stack.enter_context(open_engine(bundle, backend, precision))

        yield open_one


@pytest.fixture
def nudge() -> Nudge:
    """`nudge(bundle, factor)`: the bundle with one single weight of its network, the head's first, multiplied."""

    def nudged(bundle: Bundle, factor: float) -> Bundle:
        model = onnx.load_from_string(bundle.read_network())
        tensor = next(item for item in model.graph.initializer if item.name == "head.patches.weight")
        weights = numpy_helper.to_array(tensor).copy()
        weights.flat[0] *= factor
        tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
        return update_bundle(bundle, bundle.info, networks={"f32": model.SerializeToString()})

    return nudged


@pytest.fixture(scope="session")
def trained_frames(part_photos: Path, uncalibrated_bundle: Bundle) -> list[NDArray[np.uint8]]:
    """The 16 parts that the bundle's head was fitted to, as the network sees them."""
    preprocessing = uncalibrated_bundle.info.preprocessing
    return [preprocessing(read_image(path)) for path in list_images(part_photos / "train" / "good")]


@pytest.fixture(scope="session")
def scratched_frames(part_photos: Path, uncalibrated_bundle: Bundle) -> list[NDArray[np.uint8]]:
    """The 6 parts of test/scratch as the network sees them."""
    preprocessing = uncalibrated_bundle.info.preprocessing
    return [preprocessing(read_image(path)) for path in list_images(part_photos / "test" / "scratch")]


@pytest.fixture
def lopsided() -> Callable[[Bundle, Sequence[str]], Bundle]:
    """`lopsided(bundle, blocks)`: the same function in float32, but 8 bits do not suffice inside these blocks.

    One channel of a block's inner activations is ten thousand times as large, and its weights afterwards so much
    smaller. With one scale a tensor all other channels become zero.
    """
    return _lopsided


def _lopsided(bundle: Bundle, blocks: Sequence[str]) -> Bundle:
    model = onnx.load_from_string(bundle.read_network())
    constants = {item.name: item for item in model.graph.initializer}
    for block in blocks:
        for name, channel, factor in (
            ("conv1.weight", np.s_[0], 1e4),
            ("conv1.bias", np.s_[0], 1e4),
            ("conv2.weight", np.s_[:, 0], 1e-4),
        ):
            array = numpy_helper.to_array(constants[f"{block}.{name}"]).copy()
            array[channel] *= factor
            constants[f"{block}.{name}"].CopyFrom(numpy_helper.from_array(array, f"{block}.{name}"))
    return update_bundle(bundle, bundle.info, networks={"f32": model.SerializeToString()})
