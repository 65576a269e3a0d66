"""INT8: the bundle's network quantised on good photographs, in settings that trade speed for accuracy step by step.

Weights become signed 8-bit integers with a scale a channel, activations 8-bit integers with a scale a tensor, set by
what a few dozen good parts reach (post-training quantisation, NNCF). Whether that costs accuracy is not asked here but
measured by the gate (`calibration/int8_gate.py`).
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration.scoring import Parts, Progress, inspect_one
from engines.bundle import Bundle, BundleInfo
from engines.extras import import_extra
from engines.preprocess import Preprocessing
from engines.registry import open_engine
from engines.telemetry import without_telemetry

if TYPE_CHECKING:
    import onnx

RANGE_PARTS = 128
_SENSITIVITY_PARTS = 12

# The settings from the fastest one to the last resort: what is left in floating point, first none of it, then stem and
# head, then also these shares of the residual blocks. With more than half of them there is little left to gain. Whole
# blocks, because every change between integers and floating point costs time.
BLOCK_SHARES = (0.15, 0.3, 0.5)

# Quantised first, and the first to be given back: the stem's convolution, because 8 bits a tensor leave dark grey
# tiles few grey levels (on magnetic_tile its return took the maps' error from 0.63 to 0.19 of their deviation), and the
# products of levels 2 and 3, whose sum's small differences are the score.
STEM_AND_HEAD = ("stem", "head")
_CONVOLUTIONS = {"stem": ("conv1",), "head": ("head.level2", "head.level3")}

# Never quantised: the score's last layers, the map and the embeddings; of a bank everything, because a distance to the
# nearest of many neighbours is below what 8 bits tell apart.
_FLOAT = ("centred", "head.upsampled", "head.hidden", "head.active", "head.patches", "map.rows", "map.blurred", "means")
_BANK = ("search.", "bank.")
_LEVELS = "layer"


@dataclass(frozen=True)
class Int8Bundle(Bundle):
    """A bundle as it would be with another int8 network, for engines to open; nothing is written."""

    network: bytes = b""

    @classmethod
    def around(cls, bundle: Bundle, network: bytes) -> Int8Bundle:
        """`bundle`, with `network` for int8."""
        return cls(bundle.path, bundle.info, bundle.digest, bundle.files, network)

    def read_network(self, precision: str = "f32") -> bytes:
        """As in `Bundle`."""
        return self.network if precision == "int8" else super().read_network(precision)


@dataclass(frozen=True)
class Setting:
    """An int8 network, and which of its parts it leaves in floating point: "stem", "head", residual blocks."""

    network: bytes
    float_parts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.float_parts)} in floating point" if self.float_parts else "everything in int8"


def settings(bundle: Bundle, backend: str, ranges: Parts, progress: Progress | None = None) -> Iterator[Setting]:
    """Quantise once, then give stem and head and more and more of the most sensitive blocks their precision back.

    Needs the `int8` extra. Raises EngineError.
    """
    onnx = import_extra("onnx", "int8")
    original = onnx.load_from_string(bundle.read_network())
    quantised = _quantised(original, _range_squares(bundle.info.preprocessing, ranges))

    def setting(*float_parts: str) -> Setting:
        return Setting(restored(quantised, original, float_parts).SerializeToString(), float_parts)

    yield setting()
    yield setting(*STEM_AND_HEAD)
    ranking = rank_by_sensitivity(bundle, backend, original, quantised, ranges, progress)
    for share in BLOCK_SHARES:
        yield setting(*STEM_AND_HEAD, *ranking[: max(1, round(share * len(ranking)))])


def import_nncf() -> Any:
    """The library that quantises, with its telemetry off. Raises UsageError where it is not installed."""
    with without_telemetry():
        return import_extra("nncf", "int8")


def residual_blocks(model: onnx.ModelProto) -> list[str]:
    """Names of the residual blocks, such as layer2.0, in the graph's order."""
    nodes = (node.name.split(".") for node in model.graph.node if node.op_type == "Conv")
    return list(dict.fromkeys(".".join(name[:2]) for name in nodes if name[0].startswith(_LEVELS)))


def restored(quantised: onnx.ModelProto, original: onnx.ModelProto, parts: Sequence[str]) -> onnx.ModelProto:
    """Give the convolutions of parts their floating-point weights, bias, input and output back.

    The convolution of a block's shortcut stays in int8: OpenVINO 2026.4 compiles no strided block without any.
    """
    model = type(quantised)()
    model.CopyFrom(quantised)
    by_output = {output: node for node in model.graph.node for output in node.output}
    floats = {node.name: node for node in original.graph.node if _belongs(node, parts)}
    for node in model.graph.node:
        if node.name in floats:
            node.input[0] = _unquantised(node.input[0], by_output)
            node.input[1:] = floats[node.name].input[1:]
        else:
            node.input[:] = [
                source if (source := _unquantised(name, by_output)) in floats and node.op_type == "Add" else name
                for name in node.input
            ]
    constants = {constant.name: constant for constant in model.graph.initializer}
    wanted = {name for node in floats.values() for name in node.input}  # their biases were corrected for int8
    constants |= {constant.name: constant for constant in original.graph.initializer if constant.name in wanted}
    _keep_what_is_used(model.graph, constants)
    return model


def rank_by_sensitivity(
    bundle: Bundle,
    backend: str,
    original: onnx.ModelProto,
    quantised: onnx.ModelProto,
    parts: Parts,
    progress: Progress | None = None,
) -> list[str]:
    """The residual blocks, the one whose return, beside stem and head, helps the maps most first.

    Helps: makes the mean squared difference from the float32 maps of a few parts smallest.
    """
    frames = [parts[index] for index in _spread(len(parts), _SENSITIVITY_PARTS)]
    expected = _maps(bundle, backend, "f32", frames)
    blocks = residual_blocks(original)
    errors = {}
    for done, block in enumerate(blocks, start=1):
        network = restored(quantised, original, [*STEM_AND_HEAD, block]).SerializeToString()
        candidate = Int8Bundle.around(bundle, network)
        errors[block] = float(np.square(_maps(candidate, backend, "int8", frames) - expected).mean())
        if progress:
            progress("finding sensitive blocks", done, len(blocks))
    return sorted(blocks, key=lambda block: errors[block])


def without_int8(info: BundleInfo) -> BundleInfo:
    """`info` without a quantisation, and without thresholds that belonged to an int8 network."""
    kept = tuple(entry for entry in info.calibrations if entry.precision != "int8")
    return msgspec.structs.replace(info, calibrations=kept, quantisation=None)


def _range_squares(preprocessing: Preprocessing, ranges: Parts) -> list[NDArray[np.uint8]]:
    """Network inputs `(1, S, S, 3)` to measure ranges on, all tiles of as many parts as make about `RANGE_PARTS`."""
    parts = max(1, RANGE_PARTS // preprocessing.squares_a_frame)
    pictures = [ranges[index] for index in _spread(len(ranges), parts)]
    return [square[None] for picture in pictures for square in preprocessing.squares(picture)]


def _quantised(original: onnx.ModelProto, frames: list[NDArray[np.uint8]]) -> onnx.ModelProto:
    nncf = import_nncf()
    # Not nncf.set_log_level, which sets the level of handlers that are not its own, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    # It reports its progress on standard output, which is the command's own.
    with contextlib.redirect_stdout(sys.stderr):
        return nncf.quantize(
            original,
            nncf.Dataset(frames, lambda frame: {"frames": frame}),
            subset_size=len(frames),
            # Symmetric activations. Asymmetric ones kept a convolution in float32 and took twice the time in
            # OpenVINO, and were no more accurate.
            preset=nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(names=_never_quantised(original)),
        )


def _never_quantised(model: onnx.ModelProto) -> list[str]:
    names = (node.name for node in model.graph.node)
    return [name for name in names if name in _FLOAT or name.startswith(_BANK)]


def _belongs(node: Any, parts: Sequence[str]) -> bool:
    """Whether a node is given back with one of the parts: its convolutions, and the pooling before the head's."""
    if node.op_type == "AveragePool":
        return "head" in parts
    if node.op_type != "Conv":
        return False
    blocks = tuple(f"{part}.conv" for part in parts if part.startswith(_LEVELS))
    return node.name.startswith(blocks) or any(node.name in _CONVOLUTIONS.get(part, ()) for part in parts)


def _maps(bundle: Bundle, backend: str, precision: str, frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    with open_engine(bundle, backend, precision) as engine:
        return np.concatenate([inspect_one(engine, frame).maps for frame in frames])


def _spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` indices, evenly spread."""
    return sorted(set(np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist()))


def _unquantised(name: str, by_output: dict[str, Any]) -> str:
    """The floating-point tensor behind a quantised and dequantised one; else the tensor itself."""
    back = by_output.get(name)
    if back is None or back.op_type != "DequantizeLinear":
        return name
    there = by_output.get(back.input[0])
    return name if there is None or there.op_type != "QuantizeLinear" else str(there.input[0])


def _keep_what_is_used(graph: Any, constants: dict[str, Any]) -> None:
    """Drop nodes that lead nowhere, and have those of `constants` in the graph that are read."""
    needed = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    nodes.reverse()
    kept = [constants[name] for name in sorted(needed & set(constants))]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
