"""SimpleNet's trained head as plain arrays, and its exact folding into one affine map per level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


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


LEAKY_SLOPE = 0.2
