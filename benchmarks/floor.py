"""How long a network's arithmetic would take at the speed of one large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable

import onnx
import torch
from torch import Tensor

from benchmarks.bench_fps import FLOOR_PRECISIONS

Product = Callable[[], Tensor]
MakeProducts = Callable[[int], dict[str, Product]]

_SIDE = 2048
_TRIES = 12
# Small enough for a plain loop over int8; a dozen of the large ones kept an AVX2 machine busy for many minutes.
_SMALL_SIDE = 256
_SMALL_TRIES = 5


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


def product_rates(make: MakeProducts | None = None) -> dict[str, float]:
    """Operations a second of the fastest of several large matrix products on the CPU, by precision.

    A precision that the CPU does not multiply natively is left out: where a small product of it is slower than one in
    float32. PyTorch then multiplies in plain loops, and a large product takes minutes. `make(side)` returns a product
    of that side for each precision, float32 first.
    """
    make = make or _products
    small, large = make(_SMALL_SIDE), make(_SIDE)
    rates = {name: _rate(small[name], _SMALL_SIDE, _SMALL_TRIES) for name in FLOOR_PRECISIONS}
    least = rates["f32"]
    return {name: _rate(large[name], _SIDE, _TRIES) for name in FLOOR_PRECISIONS if rates[name] >= least}


def _products(side: int) -> dict[str, Product]:
    generator = torch.Generator().manual_seed(0)
    floats = [torch.randn(side, side, generator=generator) for _ in range(2)]
    halves = [matrix.to(torch.bfloat16) for matrix in floats]
    integers = [(matrix * 20).to(torch.int8) for matrix in floats]
    return {
        "f32": lambda: floats[0] @ floats[1],
        "bf16": lambda: halves[0] @ halves[1],
        "int8": lambda: torch._int_mm(integers[0], integers[1]),
    }


def _rate(product: Product, side: int, tries: int) -> float:
    spent = []
    for _ in range(tries):
        began = time.perf_counter()
        product()
        spent.append(time.perf_counter() - began)
    return float(2.0 * side**3 / min(spent))
