"""The deployed network as ONNX, written straight from arrays: uint8 frames in; scores, maps and embeddings out.

Everything that is linear is folded in float64 before it is rounded once to float32: BatchNorm and 1/(255 std) into the
convolutions, SimpleNet's adaptor, hidden layer and BatchNorm into one matrix a level, the map's upsampling and Gaussian
into one matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines import __version__
from engines.backbones import BATCH_NORM_EPS, IMAGENET_MEAN, IMAGENET_STD, Backbone
from engines.bank import Bank
from engines.errors import UsageError, WeightsError
from engines.extras import import_extra
from engines.head import LEAKY_SLOPE, FoldedHead, Head

if TYPE_CHECKING:
    import onnx

Weights = Mapping[str, NDArray[np.float32]]

PATCH_STRIDE = 8
MAP_SIGMA = 4.0
_TINY = 1e-12  # keeps a patch of nothing from being divided by its length
_TRUNCATE = 4.0  # scipy's: the kernel ends at four sigma


def build_model(
    backbone: Backbone, weights: Weights, head: Head | Bank, input_size: int, opset: int = 17
) -> onnx.ModelProto:
    """Build the graph `frames` uint8 `(N, S, S, 3)` RGB -> `scores` `(N,)`, `maps` `(N, S, S)`, `embeddings` `(N, C)`.

    `weights` is the backbone's torchvision state dict. Outputs are float32, the batch is dynamic. Needs the `train`
    extra. Raises WeightsError for weights of another backbone, UsageError for a size that 16 does not divide.
    """
    if input_size < 16 or input_size % 16:
        raise UsageError(f"expected an input size that is a multiple of 16, found {input_size}; change resize or crop")
    channels = sum(backbone.channels)
    if head.channels != channels:
        raise WeightsError(
            f"expected a head for {channels} channels ({backbone.name}), found one for {head.channels}; "
            "train the head on this backbone"
        )
    graph = _Graph(import_extra("onnx", "train"))
    level2, level3 = _resnet(graph, _centred(graph), backbone, weights)
    if isinstance(head, Bank):
        patches = _distances(graph, level2, level3, head, input_size // PATCH_STRIDE)
    else:
        patches = _patch_scores(graph, level2, level3, head.fold(backbone.channels[0]))
    _outputs(graph, patches, level2, level3, input_size)
    return _model(graph, input_size, channels, opset)


def map_matrix(size: int, grid: int, sigma: float = MAP_SIGMA) -> NDArray[np.float64]:
    """Return A of shape `(size, grid)`, so that `A @ M @ A.T` is the blurred bilinear map (SimpleNet eq. 10).

    Equals `scipy.ndimage.gaussian_filter(bilinear(M), sigma)`: scipy's border rule repeats the edge pixel, which
    neither torch's nor ONNX's reflection does.
    """
    return _gaussian_matrix(size, sigma) @ _bilinear_matrix(size, grid)


def _bilinear_matrix(size: int, grid: int) -> NDArray[np.float64]:
    """Interpolation weights of `align_corners=False`."""
    centre = np.clip((np.arange(size) + 0.5) * grid / size - 0.5, 0, grid - 1)
    left = np.minimum(centre.astype(int), max(grid - 2, 0))
    matrix = np.zeros((size, grid))
    rows = np.arange(size)
    matrix[rows, left] = 1.0 - (centre - left)
    matrix[rows, np.minimum(left + 1, grid - 1)] += centre - left
    return matrix


def _gaussian_matrix(size: int, sigma: float) -> NDArray[np.float64]:
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((size, size))
    for row in range(size):
        folded = (row + offsets) % (2 * size)
        np.add.at(matrix[row], np.where(folded < size, folded, 2 * size - 1 - folded), kernel)
    return matrix


@dataclass
class _Graph:
    """Nodes and constants of a graph that grows in the order in which it runs."""

    onnx: Any
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(self, kind: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append one node; its only output bears its name."""
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add a constant, float64 rounded to float32."""
        rounded = array.astype(np.float32) if array.dtype == np.float64 else array
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(rounded), name))
        return name

    def axis(self, number: int) -> str:
        """Name of the constant that says along which axis."""
        name = f"axis.{number}"
        if all(constant.name != name for constant in self.constants):
            self.constant(name, np.array([number], np.int64))
        return name

    def nearest(self, name: str, closeness: str, count: int) -> str:
        """Append the search for the `count` largest numbers of each row; their places are the second output."""
        wanted = self.constant(f"{name}.count", np.array([count], np.int64))
        outputs = [f"{name}.closeness", name]
        self.nodes.append(self.onnx.helper.make_node("TopK", [closeness, wanted], outputs, name, axis=-1))
        return name

    def conv(
        self,
        name: str,
        source: str,
        weight: NDArray[np.float64],
        bias: NDArray[np.float64] | None = None,
        stride: int = 1,
    ) -> str:
        """Append a convolution, zero-padded to keep the grid."""
        inputs = [source, self.constant(f"{name}.weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        kernel, pad = weight.shape[2], weight.shape[2] // 2
        return self.add(
            "Conv", name, inputs, kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[pad, pad, pad, pad]
        )


def _centred(graph: _Graph) -> str:
    # The cast comes first: TensorRT refuses a transpose of uint8. The mean stays a subtraction, because folded into
    # the first convolution it would be wrong in the border, where zeros are padded after normalising.
    pixels = graph.add("Cast", "pixels", ["frames"], to=graph.onnx.TensorProto.FLOAT)
    planes = graph.add("Transpose", "planes", [pixels], perm=[0, 3, 1, 2])
    mean = graph.constant("mean", 255.0 * np.array(IMAGENET_MEAN).reshape(1, 3, 1, 1))
    return graph.add("Sub", "centred", [planes, mean])


def _resnet(graph: _Graph, source: str, backbone: Backbone, weights: Weights) -> tuple[str, str]:
    scale = 1.0 / (255.0 * np.array(IMAGENET_STD).reshape(1, 3, 1, 1))
    stem = _conv_bn(graph, source, weights, "conv1", "bn1", (64, 3, 7), stride=2, scale=scale)
    x = graph.add("Relu", "relu", [stem])
    x = graph.add("MaxPool", "maxpool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    levels, channels = [], 64
    for level, blocks in enumerate(backbone.blocks, start=1):
        planes = 32 << level
        for index in range(blocks):
            stride = 2 if index == 0 and level > 1 else 1
            x = _block(graph, x, weights, f"layer{level}.{index}", _convolutions(backbone, channels, planes, stride))
            channels = planes * backbone.expansion
        levels.append(x)
    return levels[1], levels[2]


def _convolutions(backbone: Backbone, inputs: int, planes: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Outputs, inputs, kernel and stride of a block's convolutions. torchvision strides in the 3x3, not the 1x1."""
    outputs = planes * backbone.expansion
    if not backbone.bottleneck:
        return [(outputs, inputs, 3, stride), (outputs, outputs, 3, 1)]
    width = planes * backbone.base_width // 64
    return [(width, inputs, 1, 1), (width, width, 3, stride), (outputs, width, 1, 1)]


def _block(
    graph: _Graph, source: str, weights: Weights, prefix: str, convolutions: list[tuple[int, int, int, int]]
) -> str:
    x, shortcut = source, source
    for number, (*shape, stride) in enumerate(convolutions, start=1):
        x = _conv_bn(graph, x, weights, f"{prefix}.conv{number}", f"{prefix}.bn{number}", tuple(shape), stride)
        if number < len(convolutions):
            x = graph.add("Relu", f"{prefix}.relu{number}", [x])
    inputs, outputs = convolutions[0][1], convolutions[-1][0]
    stride = max(convolution[3] for convolution in convolutions)
    if inputs != outputs or stride > 1:
        names = f"{prefix}.downsample.0", f"{prefix}.downsample.1"
        shortcut = _conv_bn(graph, source, weights, *names, (outputs, inputs, 1), stride)
    total = graph.add("Add", f"{prefix}.add", [x, shortcut])
    return graph.add("Relu", f"{prefix}.relu", [total])


def _conv_bn(
    graph: _Graph,
    source: str,
    weights: Weights,
    conv: str,
    norm: str,
    shape: tuple[int, ...],
    stride: int,
    scale: NDArray[np.float64] | None = None,
) -> str:
    """Append a bias-free convolution with its BatchNorm folded in; `scale` multiplies the input's channels."""
    outputs, inputs, kernel = shape
    weight = _tensor(weights, f"{conv}.weight", (outputs, inputs, kernel, kernel))
    gamma, beta, mean, variance = (
        _tensor(weights, f"{norm}.{name}", (outputs,)) for name in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    folded = weight * gain.reshape(-1, 1, 1, 1) * (1.0 if scale is None else scale)
    return graph.conv(conv, source, folded, beta - mean * gain, stride)


def _tensor(weights: Weights, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if key not in weights:
        raise WeightsError(f"the backbone weights lack {key}; they belong to another backbone or are incomplete")
    found = np.asarray(weights[key])
    if found.shape != shape:
        raise WeightsError(
            f"expected {key} of shape {shape}, found {found.shape}; the weights belong to another backbone"
        )
    return found.astype(np.float64)


def _patch_scores(graph: _Graph, level2: str, level3: str, head: FoldedHead) -> str:
    """The folded head. Level 3 is multiplied on its own grid, a quarter of the work, and upsampled after."""
    fine = graph.conv("head.level2", _pooled(graph, level2), head.level2[:, :, None, None], head.bias)
    coarse = graph.conv("head.level3", _pooled(graph, level3), head.level3[:, :, None, None])
    hidden = graph.add("Add", "head.hidden", [fine, _upsampled(graph, coarse)])
    active = graph.add("LeakyRelu", "head.active", [hidden], alpha=LEAKY_SLOPE)
    return graph.conv("head.patches", active, head.out_weight[None, :, None, None], np.array([head.out_bias]))


def _distances(graph: _Graph, level2: str, level3: str, bank: Bank, grid: int) -> str:
    """How far each patch is from what the bank makes of it.

    The search is one matrix product, q . v - |v|^2 / 2, largest where |q - v| is smallest. In half precision it may
    take a vector for another that is as near; the distance is then taken from the difference of the two, so that it
    is not itself a small difference of large rounded numbers.
    """
    queries = _queries(graph, level2, level3, bank)
    vectors = bank.vectors.astype(np.float64)
    if bank.of_unit_length:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(_TINY)
    # More of a distance is left in few bits without the common part.
    centre = vectors.mean(axis=0)
    vectors -= centre
    centred = graph.add("Sub", "search.centred", [queries, graph.constant("search.centre", centre)])
    table = graph.constant("search.vectors", vectors)
    penalty = graph.constant("search.penalty", np.square(vectors).sum(axis=1) / -2)
    closeness = graph.add("Gemm", "search.closeness", [centred, table, penalty], transB=1)
    nearest = graph.nearest("search.nearest", closeness, bank.neighbours)
    found = graph.add("Gather", "bank.found", [table, nearest])
    every = graph.add("Unsqueeze", "bank.queries", [centred, graph.axis(1)])
    drift = graph.add("Sub", "bank.ways", [found, every])
    if bank.neighbours > 1:
        drift = _mean_drift(graph, drift)
    shape = graph.constant("bank.grid", np.array([-1, 1, grid, grid], np.int64))
    return graph.add("Reshape", "head.patches", [_length(graph, "bank.score", drift), shape])


def _queries(graph: _Graph, level2: str, level3: str, bank: Bank) -> str:
    """All patches of all frames, float `(N P, C)`."""
    levels = [_pooled(graph, level2), _upsampled(graph, _pooled(graph, level3))]
    last = graph.add(
        "Transpose", "search.last", [graph.add("Concat", "search.levels", levels, axis=1)], perm=[0, 2, 3, 1]
    )
    rows = graph.constant("search.rows", np.array([-1, bank.channels], np.int64))
    patches = graph.add("Reshape", "search.patches", [last, rows])
    if not bank.of_unit_length:
        return patches
    return graph.add("Div", "search.directions", [patches, _length(graph, "bank.patch", patches)])


def _mean_drift(graph: _Graph, ways: str) -> str:
    """Mean `(N P, 1, C)` of the ways `(N P, k, C)` to the neighbours, weighted by their cosines, 1 - d^2 / 2."""
    squares = _squares(graph, "bank.ways", ways)
    half = graph.add("Mul", "bank.opening", [squares, graph.constant("bank.half", np.array(-0.5))])
    cosine = graph.add("Add", "bank.cosine", [half, graph.constant("bank.one", np.array(1.0))])
    affinity = graph.add("Max", "bank.affinity", [cosine, graph.constant("bank.least", np.array(_TINY))])
    total = graph.add("ReduceSum", "bank.total", [affinity, graph.axis(1)])
    weights = graph.add("Div", "bank.weights", [affinity, total])
    weighted = graph.add("Mul", "bank.weighted", [ways, weights])
    return graph.add("ReduceSum", "bank.drifts", [weighted, graph.axis(1)])


def _squares(graph: _Graph, name: str, source: str) -> str:
    """Sum of squares along the last axis, which stays. ReduceL2 takes its axes in another way from opset 18 on."""
    return graph.add(
        "ReduceSum", f"{name}.sum", [graph.add("Mul", f"{name}.squares", [source, source]), graph.axis(-1)]
    )


def _length(graph: _Graph, name: str, source: str) -> str:
    least = graph.constant(f"{name}.least", np.array(_TINY))
    squares = graph.add("Max", f"{name}.positive", [_squares(graph, name, source), least])
    return graph.add("Sqrt", f"{name}.length", [squares])


def _pooled(graph: _Graph, level: str) -> str:
    name = f"{level}.pooled"
    return graph.add("AveragePool", name, [level], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)


def _upsampled(graph: _Graph, coarse: str) -> str:
    # Resize, and not constant matrices as for the map: with 1024 channels they lose in every case measured
    # (interleaved, two cores of an AMX Xeon, times Resize's whole network): two matrix products 1.08-1.20 with OpenVINO
    # and 1.04 with ONNX Runtime, one Kronecker product 1.06-1.16, a grouped transposed convolution 0.97-3.5.
    scales = graph.constant("head.scales", np.array([1, 1, 2, 2], np.float32))
    return graph.add(
        "Resize",
        "head.upsampled",
        [coarse, "", scales],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def _outputs(graph: _Graph, patches: str, level2: str, level3: str, size: int) -> None:
    flat = graph.constant("flat", np.array([-1], np.int64))
    graph.add("Reshape", "scores", [graph.add("GlobalMaxPool", "peak", [patches]), flat])

    matrix = map_matrix(size, size // PATCH_STRIDE)
    rows = graph.add("MatMul", "map.rows", [graph.constant("map.matrix", matrix), patches])
    blurred = graph.add("MatMul", "map.blurred", [rows, graph.constant("map.transposed", matrix.T)])
    graph.add("Squeeze", "maps", [blurred, graph.constant("map.channel", np.array([1], np.int64))])

    means = [graph.add("GlobalAveragePool", f"{level}.mean", [level]) for level in (level2, level3)]
    graph.add("Flatten", "embeddings", [graph.add("Concat", "means", means, axis=1)], axis=1)


def _model(graph: _Graph, size: int, channels: int, opset: int) -> onnx.ModelProto:
    onnx, helper = graph.onnx, graph.onnx.helper
    floats, uint8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
    outputs = {"scores": ["N"], "maps": ["N", size, size], "embeddings": ["N", channels]}
    proto = helper.make_graph(
        graph.nodes,
        "simplenet",
        [helper.make_tensor_value_info("frames", uint8, ["N", size, size, 3])],
        [helper.make_tensor_value_info(name, floats, shape) for name, shape in outputs.items()],
        graph.constants,
    )
    opsets = [helper.make_operatorsetid("", opset)]
    # The oldest file version that has this opset: an older runtime refuses a newer one for no reason of ours.
    version = helper.find_min_ir_version_for(opsets)
    model = helper.make_model(
        proto, opset_imports=opsets, ir_version=version, producer_name="edge-inspect", producer_version=__version__
    )
    onnx.checker.check_model(model, full_check=True)
    return model
