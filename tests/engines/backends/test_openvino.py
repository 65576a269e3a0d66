"""OpenVINO: the precision is the one that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.bundle import Bundle
from engines.cpu import cpu_flags
from engines.registry import open_engine

backend = pytest.importorskip("engines.backends.openvino")


@pytest.mark.parametrize("precision", ["bf16", "f16"])
def test_half_precision_is_used_when_asked_for(
    uncalibrated_bundle: Bundle, frames: NDArray[np.uint8], precision: str
) -> None:
    if precision not in backend.probe().precisions:
        pytest.skip(f"this CPU has no native {precision}")
    with open_engine(uncalibrated_bundle, "openvino", "f32") as exact:
        expected = exact.infer(frames)
    with open_engine(uncalibrated_bundle, "openvino", precision) as engine:
        found = engine.infer(frames)
        assert engine.description.precision == precision
    error = np.abs(found.maps - expected.maps).max() / expected.maps.std()
    assert 1e-5 < error < 0.5


def test_the_probe_prefers_what_this_cpu_is_fast_at() -> None:
    facts = backend.probe()
    assert "f32" in facts.precisions
    assert facts.preferred == ("bf16" if "amx_bf16" in cpu_flags() else "f32")


@pytest.mark.parametrize(
    ("precisions", "flags", "preferred"),
    [
        (("bf16", "f16", "f32"), {"avx512f", "avx512_bf16", "amx_bf16"}, "bf16"),
        (("bf16", "f32"), {"avx512f", "avx512_bf16"}, "f32"),
        (("bf16", "f16", "f32"), {"avx_ne_convert"}, "f32"),
        (("f32",), {"avx2"}, "f32"),
        (("f32",), {"amx_bf16"}, "f32"),
        (("f32",), set(), "f32"),
    ],
)
def test_half_precision_is_preferred_with_amx_only(
    precisions: tuple[str, ...], flags: set[str], preferred: str
) -> None:
    assert backend._preferred(precisions, frozenset(flags))[0] == preferred
