"""The head: folding changes nothing, and its file holds exactly it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from engines.errors import BundleError, UsageError
from engines.head import LEAKY_SLOPE, FoldedHead, Head, decode_head, encode_head

safetensors = pytest.importorskip("safetensors.numpy")


def folded_scores(head: FoldedHead, level2: torch.Tensor, level3: torch.Tensor) -> torch.Tensor:
    """The formula of FoldedHead's docstring, level 3 multiplied on its own grid."""
    fine = torch.nn.functional.avg_pool2d(level2, 3, 1, 1)
    coarse = torch.einsum("hc,ncyx->nhyx", torch.tensor(head.level3), torch.nn.functional.avg_pool2d(level3, 3, 1, 1))
    hidden = torch.einsum("hc,ncyx->nhyx", torch.tensor(head.level2), fine)
    hidden += torch.nn.functional.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
    hidden += torch.tensor(head.bias)[:, None, None]
    active = torch.nn.functional.leaky_relu(hidden, LEAKY_SLOPE)
    return torch.einsum("h,nhyx->nyx", torch.tensor(head.out_weight), active) + head.out_bias


@pytest.mark.parametrize(("fine", "coarse", "grid"), [(5, 7, 4), (128, 256, 14), (64, 64, 28)])
def test_folding_changes_nothing(
    make_head: Callable[..., Head], unfolded: Callable[..., torch.Tensor], fine: int, coarse: int, grid: int
) -> None:
    head = make_head(fine + coarse, hidden=33)
    head.bn_var[0] = 1e-3  # a unit that hardly varies, where BatchNorm's epsilon counts
    generator = torch.Generator().manual_seed(1)
    level2 = torch.rand(2, fine, grid, grid, generator=generator)
    level3 = torch.rand(2, coarse, grid // 2, grid // 2, generator=generator)
    expected = unfolded(head, level2, level3)
    found = folded_scores(head.fold(fine), level2.double(), level3.double())
    assert expected.std() > 0.01
    assert torch.allclose(found.float(), expected, atol=1e-5)


def test_the_file_gives_back_the_head(make_head: Callable[..., Head]) -> None:
    head = make_head(6)
    loaded = decode_head(encode_head(head), "head.safetensors")
    for field in fields(Head):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(head, field.name))


def test_other_bytes_are_refused() -> None:
    with pytest.raises(BundleError, match="head: no safetensors file"):
        decode_head(b"not a safetensors file", "head")


def test_other_tensors_are_refused() -> None:
    data = safetensors.save({"adaptor": np.zeros((2, 2), np.float32)})
    with pytest.raises(BundleError, match=r"expected the tensors .*found \['adaptor'\]"):
        decode_head(data, "head")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("adaptor", np.zeros((6, 5), np.float32)),
        ("hidden_weight", np.zeros(6, np.float32)),
        ("bn_var", np.zeros(3, np.float32)),
        ("out_weight", np.zeros((1, 96), np.float32)),
        ("out_bias", np.zeros(2, np.float32)),
    ],
)
def test_impossible_shapes_are_refused(make_head: Callable[..., Head], name: str, value: np.ndarray) -> None:
    data = encode_head(replace(make_head(6), **{name: value}))
    with pytest.raises(BundleError, match=r"expected .* as float32 of shape"):
        decode_head(data, "head")


def test_without_safetensors_the_extra_is_named(
    make_head: Callable[..., Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UsageError, match=r"pip install 'edge-inspect\[train\]'"):
        encode_head(make_head(6))
