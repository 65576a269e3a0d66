"""How long a network's arithmetic would take at the speed of one large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable

import onnx
import torch
from torch import Tensor

_SIDE = 2048
_TRIES = 12


def operations(model: bytes) -> float:
    """Additions and multiplications of an ONNX network's convolutions and matrix products for one image."""
    network = onnx.load_from_string(model)
    network.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    network = onnx.shape_inference.infer_shapes(network, strict_mode=True)
    known = (*network.graph.value_info, *network.graph.output)
    shapes = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim] for value in known}
    weights = {constant.name: list(constant.dims) for constant in network.graph.initializer}
    total = 0.0
    for node in network.graph.node:
        if node.op_type == "Conv":
            _, channels, height, width = shapes[node.output[0]]
            _, inputs, *kernel = weights[node.input[1]]
            total += 2.0 * channels * height * width * inputs * kernel[0] * kernel[1]
        elif node.op_type == "MatMul":
            inner = (weights.get(node.input[0]) or shapes[node.input[0]])[-1]
            sides = shapes[node.output[0]]
            total += 2.0 * inner * sides[-1] * sides[-2] * sides[-3]
    return total


def product_rates() -> dict[str, float]:
    """Operations a second of the fastest of several large matrix products on the CPU, by precision."""
    generator = torch.Generator().manual_seed(0)
    floats = [torch.randn(_SIDE, _SIDE, generator=generator) for _ in range(2)]
    halves = [matrix.to(torch.bfloat16) for matrix in floats]
    integers = [(matrix * 20).to(torch.int8) for matrix in floats]
    return {
        "f32": _rate(lambda: floats[0] @ floats[1]),
        "bf16": _rate(lambda: halves[0] @ halves[1]),
        "int8": _rate(lambda: torch._int_mm(integers[0], integers[1])),
    }


def _rate(product: Callable[[], Tensor]) -> float:
    spent = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        product()
        spent.append(time.perf_counter() - began)
    return float(2.0 * _SIDE**3 / min(spent))
