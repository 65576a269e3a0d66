"""The half-precision network for TensorRT, derived from a bundle's float32 ONNX: one graph for every version of it.

TensorRT 11 knows strongly typed networks only, so the precision is in the graph and not in builder flags: weights and
activations are float16 behind one Cast, and no Conv, Add or Resize mixes two types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineError
from engines.extras import import_extra

if TYPE_CHECKING:
    import onnx
