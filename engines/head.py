"""SimpleNet's trained head as plain arrays, its exact folding into one affine map per level, and heads on disk."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from engines.backbones import BATCH_NORM_EPS
from engines.bank import Bank
from engines.errors import BundleError
from engines.extras import import_extra

Array = NDArray[np.float32]

LEAKY_SLOPE = 0.2


@dataclass(frozen=True)
class FoldedHead:
    """The deployed head: `score = out_weight . LeakyReLU(level2 @ p2 + up(level3 @ p3) + bias) + out_bias`.

    `p2`, `p3` are the 3x3-averaged features of levels 2 and 3, each on its own grid; `up` is the bilinear upsampling
    of level 3's product to level 2's grid. `level2` `(H, C2)`, `level3` `(H, C3)`, `bias` `(H,)`, `out_weight` `(H,)`
    and `out_bias` are float64, so that whoever stores them in another precision rounds once. The minus of
    `score = -D` is in `out_weight` and `out_bias`.
    """

    level2: NDArray[np.float64]
    level3: NDArray[np.float64]
    bias: NDArray[np.float64]
    out_weight: NDArray[np.float64]
    out_bias: float


@dataclass(frozen=True)
class Head:
    """The unfolded head, the training artefact. C patch channels (levels 2 and 3 concatenated), H hidden units.

    `adaptor` `(C, C)`; discriminator: `hidden_weight` `(H, C)`, `hidden_bias` `(H,)`, BatchNorm `bn_weight`,
    `bn_bias`, `bn_mean`, `bn_var` `(H,)`, LeakyReLU, `out_weight` `(H,)`, `out_bias` `(1,)`. All float32.
    """

    adaptor: Array
    hidden_weight: Array
    hidden_bias: Array
    bn_weight: Array
    bn_bias: Array
    bn_mean: Array
    bn_var: Array
    out_weight: Array
    out_bias: Array

    @property
    def channels(self) -> int:
        """Channels of a patch."""
        return int(self.adaptor.shape[1])

    def fold(self, level2_channels: int) -> FoldedHead:
        """Fold adaptor, hidden layer and BatchNorm into one affine map, split between levels 2 and 3.

        Exact: all of them are linear, and bilinear weights sum to one, so the bias passes the upsampling unchanged.
        """
        scale = self.bn_weight.astype(np.float64) / np.sqrt(self.bn_var.astype(np.float64) + BATCH_NORM_EPS)
        matrix = scale[:, None] * (self.hidden_weight.astype(np.float64) @ self.adaptor.astype(np.float64))
        bias = scale * (self.hidden_bias.astype(np.float64) - self.bn_mean) + self.bn_bias
        return FoldedHead(
            level2=matrix[:, :level2_channels],
            level3=matrix[:, level2_channels:],
            bias=bias,
            out_weight=-self.out_weight.astype(np.float64),
            out_bias=-float(self.out_bias[0]),
        )


_FIELDS = fields(Head)


def encode_head(head: Head | Bank) -> bytes:
    """Return the bytes of the head's safetensors file."""
    arrays = head.tensors() if isinstance(head, Bank) else {field.name: getattr(head, field.name) for field in _FIELDS}
    tensors = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
    return bytes(import_extra("safetensors.numpy", "train").save(tensors))


def decode_head(data: bytes, name: str) -> Head | Bank:
    """Decode the bytes of a head's safetensors file; `name` is for the message. Raises BundleError."""
    safetensors = import_extra("safetensors.numpy", "train")
    try:
        tensors = safetensors.load(data)
    except Exception as error:  # its SafetensorError derives from Exception alone
        raise BundleError(f"{name}: no safetensors file ({error}); export the bundle again") from None
    if set(tensors) == {"vectors", "neighbours"}:
        return Bank.from_tensors(tensors, name)
    expected = {field.name for field in _FIELDS}
    if set(tensors) != expected:
        raise BundleError(
            f"{name}: expected the tensors {sorted(expected)}, or a bank's vectors and neighbours, "
            f"found {sorted(tensors)}"
        )
    head = Head(**tensors)
    _check_shapes(head, name)
    return head


def _check_shapes(head: Head, name: str) -> None:
    hidden, channels = head.hidden_weight.shape if head.hidden_weight.ndim == 2 else (0, 0)
    shapes = {"adaptor": (channels, channels), "hidden_weight": (hidden, channels), "out_bias": (1,)}
    for field in _FIELDS:
        expected, array = shapes.get(field.name, (hidden,)), getattr(head, field.name)
        if array.shape != expected or array.dtype != np.float32:
            raise BundleError(
                f"{name}: expected {field.name} as float32 of shape {expected}, "
                f"found {array.dtype} of shape {array.shape}; export the bundle again"
            )
