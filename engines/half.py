"""The half-precision network for TensorRT, derived from a bundle's float32 ONNX: one graph for every version of it.

TensorRT 11 knows strongly typed networks only, so the precision is in the graph and not in a builder's flags: weights
and activations are float16 between Casts, and no layer mixes two types. Derived where an engine is built and not kept
in the bundle: it takes seconds, follows from `model.onnx` and the frames that ranges are measured on, and would make
every bundle half as large again. Only building needs the package onnx.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineError
from engines.extras import import_extra
from engines.telemetry import without_telemetry

if TYPE_CHECKING:
    import onnx

# Version of the rules below. Part of every engine's key: raise it with any change that alters the derived network.
RECIPE = 1

HALF_MAX = 65504.0
# How many times larger than on the measured frames a number may get before half precision overflows. Layers with less
# stay float32. benchmarks/half_errors.py prints how far parts go beyond what was measured: 1.2 times.
HEADROOM = 8.0

# What stays float32 whatever its range, by the layer's name or its last or first part, with the reason. All of it is
# next to no work. benchmarks/half_errors.py prints what each is worth; docs/architecture.md has the table, and why the
# stem, which is worth more, is not among them.
KEPT: Mapping[str, str] = {
    **dict.fromkeys(("head.patches", "peak", "scores"), "the score is not rounded"),
    **dict.fromkeys(("map.rows", "map.blurred", "maps"), "the map is not rounded"),
    **dict.fromkeys(("means", "embeddings"), "an output is float32"),
    "mean": "it adds a whole grid's numbers",
    "bank": "the distance to the bank is not rounded",
}


# Of these the absolute terms are added up, too. Products of the map stay float32.
_PRODUCTS = ("Conv", "Gemm")


class LayerRange(msgspec.Struct, frozen=True):
    """How large a layer's numbers get on the frames that were measured.

    `peak` is the largest absolute value of its output, `sum` the largest sum of absolute terms behind one value of it,
    which no partial sum exceeds in whatever order a kernel adds. `kept` says why the layer stays float32, and is empty
    where it is half.
    """

    layer: str
    peak: float
    sum: float
    kept: str = ""

    @property
    def headroom(self) -> float:
        """How many times its largest number fits into half precision."""
        largest = max(self.peak, self.sum)
        return HALF_MAX / largest if largest else math.inf


@dataclass(frozen=True)
class HalfNetwork:
    """The derived ONNX network, and the range of every layer in the order in which they run."""

    data: bytes
    ranges: tuple[LayerRange, ...]

    @property
    def least_headroom(self) -> float | None:
        """That of the half-precision layer that comes nearest to the limit; None where every layer is float32."""
        return min((entry.headroom for entry in self.ranges if not entry.kept), default=None)


def derive(network: bytes, frames: NDArray[np.uint8], kept: Mapping[str, str] = KEPT) -> HalfNetwork:
    """Derive the half-precision network of a bundle's float32 one. Needs the package onnx.

    The layers in `kept` stay float32, and those whose numbers come near half precision's limit on `frames`, network
    inputs `(N, S, S, 3)`.
    Raises EngineError where float32 itself gives no finite numbers.
    """
    onnx = import_extra("onnx", "tensorrt")
    model = onnx.load_model_from_string(network)
    arrays = ((tensor.name, onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer)
    constants = {name: _largest(name, array) for name, array in arrays if array.dtype == np.float32}
    ranges = tuple(_judged(model.graph.node, measure_ranges(model, frames), constants, kept))
    rewriter = _Rewriter(onnx, model, frozenset(entry.layer for entry in ranges if entry.kept))
    return HalfNetwork(rewriter.rewritten().SerializeToString(), ranges)


def extreme_frames(size: int) -> NDArray[np.uint8]:
    """Black, white, noise, and noise of black and white alone: uint8 `(4, size, size, 3)`, the same every time.

    No part looks like that, which makes the ranges of parts that were never photographed likelier to be covered.
    """
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return np.stack(
        [np.zeros_like(noise), np.full_like(noise, 255), noise, np.where(noise < 128, 0, 255).astype(np.uint8)]
    )


def measure_ranges(model: onnx.ModelProto, frames: NDArray[np.uint8]) -> dict[str, tuple[float, float]]:
    """Peak and sum (see LayerRange) of every layer of a float32 network on frames `(N, S, S, 3)`.

    ONNX Runtime runs it with every layer's output as an output of the network, beside it every convolution once more
    with the absolute values of its input, weights and bias; so for a bank's product.
    """
    with without_telemetry():
        import onnxruntime

    onnx = import_extra("onnx", "tensorrt")
    wider = _with_sums(onnx, model)
    names = [output.name for output in wider.graph.output]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(wider.SerializeToString(), options, providers=["CPUExecutionProvider"])
    largest = dict.fromkeys(names, 0.0)
    for frame in frames:
        for name, values in zip(names, session.run(names, {"frames": frame[None]}), strict=True):
            largest[name] = max(largest[name], _largest(name, values))
    return {node.name: (largest[node.output[0]], _sum_of(node, largest)) for node in model.graph.node}


def _largest(name: str, values: NDArray[Any]) -> float:
    largest = float(np.abs(values, dtype=np.float64).max())
    if not np.isfinite(largest):
        raise EngineError(f"the network's layer {name} gives no finite numbers even in float32; train it again")
    return largest


def _with_sums(onnx: Any, model: onnx.ModelProto) -> onnx.ModelProto:
    wider = onnx.ModelProto.FromString(model.SerializeToString())
    graph = wider.graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in list(graph.node):
        if node.op_type not in _PRODUCTS:
            continue
        source, *weights = node.input
        twin = onnx.NodeProto.FromString(node.SerializeToString())
        twin.name = twin.output[0] = _twin(node.name)
        twin.input[:] = [f"{twin.name}.{index}" for index in range(len(node.input))]
        graph.node.extend([onnx.helper.make_node("Abs", [source], [twin.input[0]]), twin])
        for name, constant in zip(twin.input[1:], weights, strict=True):
            graph.initializer.append(onnx.numpy_helper.from_array(np.abs(constants[constant]), name))
    del graph.output[:]
    names = (name for node in graph.node if node.op_type != "Abs" for name in node.output)
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    return wider


def _twin(layer: str) -> str:
    return f"{layer}.sum"


def _sum_of(node: onnx.NodeProto, largest: Mapping[str, float]) -> float:
    if node.op_type in _PRODUCTS:
        return largest[_twin(node.name)]
    peak = largest[node.output[0]]
    if node.op_type != "AveragePool":
        return peak
    kernel = next(attribute.ints for attribute in node.attribute if attribute.name == "kernel_shape")
    return peak * math.prod(kernel)


def _judged(
    nodes: Iterable[onnx.NodeProto],
    ranges: Mapping[str, tuple[float, float]],
    constants: Mapping[str, float],
    kept: Mapping[str, str],
) -> Iterator[LayerRange]:
    """Decide for each layer in turn, by its output, its sums, its constants and what it reads."""
    peaks = dict(constants)
    for node in nodes:
        peak, total = ranges[node.name]
        peaks.update(dict.fromkeys(node.output, peak))
        entry = LayerRange(node.name, peak, total)
        reads = max((peaks.get(name, 0.0) for name in node.input), default=0.0)
        yield msgspec.structs.replace(
            entry,
            kept=next(filter(None, map(kept.get, _names(node.name))), "") or _overflowing(max(peak, total, reads)),
        )


def _names(layer: str) -> tuple[str, str, str]:
    """A layer's name, the last part of it and the first."""
    return layer, layer.rpartition(".")[2], layer.partition(".")[0]


def _overflowing(largest: float) -> str:
    times = HALF_MAX / largest if largest else math.inf
    return f"half precision holds only {times:.2g} times its largest number" if times < HEADROOM else ""


class _Rewriter:
    """Turns a float32 model into half precision but for the layers that are kept, in one pass in running order."""

    def __init__(self, onnx: Any, model: onnx.ModelProto, kept: frozenset[str]) -> None:
        self._onnx = onnx
        self._model = onnx.ModelProto.FromString(model.SerializeToString())
        self._kept = kept
        self._constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._nodes: list[Any] = []
        self._written: dict[str, NDArray[Any]] = {}
        self._is_half: dict[str, bool] = {}
        self._places = {node.output[1] for node in self._model.graph.node if node.op_type == "TopK"}

    def rewritten(self) -> onnx.ModelProto:
        graph = self._model.graph
        for node in graph.node:
            half = node.name not in self._kept
            for index, name in enumerate(node.input):
                # Resize takes its scales in float32 whatever it scales.
                parameter = node.op_type == "Resize" and index > 0
                node.input[index] = self._input(name, half and not parameter)
            if node.op_type == "Cast":
                node.attribute[0].i = self._type(half)
            self._nodes.append(self._onnx.NodeProto.FromString(node.SerializeToString()))
            self._is_half.update(dict.fromkeys(node.output, half))
        del graph.node[:], graph.initializer[:]
        graph.node.extend(self._nodes)
        graph.initializer.extend(self._onnx.numpy_helper.from_array(*pair[::-1]) for pair in self._written.items())
        self._onnx.checker.check_model(self._model, full_check=True)
        return self._model

    def _input(self, name: str, half: bool) -> str:
        """The name under which a layer reads one of its inputs in its own type."""
        if name in self._constants:
            return self._constant(name, half)
        # Also the frames, an input that is left out, and places in a table, which are whole numbers.
        if name in self._places or self._is_half.get(name, half) == half:
            return name
        cast = f"{name}.{'half' if half else 'float'}"
        if cast not in self._is_half:
            self._nodes.append(self._onnx.helper.make_node("Cast", [name], [cast], cast, to=self._type(half)))
            self._is_half[cast] = half
        return cast

    def _type(self, half: bool) -> int:
        kinds = self._onnx.TensorProto
        return int(kinds.FLOAT16 if half else kinds.FLOAT)

    def _constant(self, name: str, half: bool) -> str:
        array = self._constants[name]
        if array.dtype != np.float32 or not half:
            self._written[name] = array
            return name
        self._written[f"{name}.half"] = array.astype(np.float16)
        return f"{name}.half"
