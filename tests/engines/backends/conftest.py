"""Engines of a real small bundle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engines.bundle import Bundle
from engines.engine import Engine
from engines.registry import open_engine


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def engine(request: pytest.FixtureRequest, uncalibrated_bundle: Bundle) -> Iterator[Engine]:
    """A float32 engine of each backend that is installed."""
    pytest.importorskip(f"engines.backends.{request.param}")
    with open_engine(uncalibrated_bundle, request.param, "f32") as engine:
        yield engine
