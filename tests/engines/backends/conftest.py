"""Engines of a real small bundle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.engine import Engine
from engines.registry import open_engine


@pytest.fixture(scope="session")
def frames(uncalibrated_bundle: Bundle) -> NDArray[np.uint8]:
    """Five frames of noise, each unlike the others."""
    size = uncalibrated_bundle.info.preprocessing.input_size
    return np.random.default_rng(5).integers(0, 256, (5, size, size, 3), np.uint8)


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def engine(request: pytest.FixtureRequest, uncalibrated_bundle: Bundle) -> Iterator[Engine]:
    """A float32 engine of each backend that is installed."""
    pytest.importorskip(f"engines.backends.{request.param}")
    with open_engine(uncalibrated_bundle, request.param, "f32") as engine:
        yield engine
