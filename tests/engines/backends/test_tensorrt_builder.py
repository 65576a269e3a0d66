"""Building for real with TensorRT-RTX, which needs no GPU, and every version's branch against its recorded names."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import half
from engines.backbones import BACKBONES
from engines.backends import tensorrt_builder
from engines.backends.tensorrt_builder import Plan, build_options, serialise, target_names
from engines.backends.tensorrt_library import FLAVOURS, load_library
from engines.errors import EngineError, UsageError
from engines.export import build_model
from engines.head import Head
from tests.engines.backends.tensorrt_api import RecordedLibrary, read_table, recorded_versions

onnx = pytest.importorskip("onnx")

Arrays = Mapping[str, NDArray[np.float32]]
RTX = FLAVOURS["tensorrt-rtx"]
SIZE = 64


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[rtx]'")


@pytest.fixture(scope="module")
def float_network(make_head: Callable[..., Head], random_weights: Callable[[str], Arrays]) -> bytes:
    network = build_model(BACKBONES["resnet18"], random_weights("resnet18"), make_head(384), SIZE)
    return network.SerializeToString()


@pytest.fixture(scope="module")
def network(float_network: bytes) -> bytes:
    return half.derive(float_network, half.extreme_frames(SIZE)).data


def edited(network: bytes, edit: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_model_from_string(network)
    edit(model)
    return model.SerializeToString()


# Ahead-of-time builds by NVIDIA's own builder.


@pytest.mark.parametrize("target", ["sm86", "sm89", "sm120"])
def test_the_network_builds_ahead_of_time(rtx: Any, network: bytes, target: str) -> None:
    built = serialise(rtx, RTX, Plan(network, SIZE, 1, target))
    weights = len(network)
    assert 0.5 * weights < len(built.engine) < 3 * weights
    assert built.seconds > 0


def test_the_widest_backbone_builds(
    rtx: Any, make_head: Callable[..., Head], random_weights: Callable[[str], Arrays]
) -> None:
    name = "wide_resnet50_2"
    head = make_head(sum(BACKBONES[name].channels))
    model = build_model(BACKBONES[name], random_weights(name), head, 32).SerializeToString()
    derived = half.derive(model, half.extreme_frames(32)).data
    assert serialise(rtx, RTX, Plan(derived, 32, 1, "sm89")).engine


def test_a_batch_has_its_profile(rtx: Any, network: bytes) -> None:
    assert serialise(rtx, RTX, Plan(network, SIZE, 8, "sm89")).engine


def test_a_network_with_layers_kept_in_float32_builds(rtx: Any, float_network: bytes) -> None:
    """As after an overflow: Casts to float32 and back in the midst of the backbone."""

    def amplify(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            factor = {"layer1.0.conv1": 1e6, "layer1.0.conv2": 1e-6}.get(tensor.name.rpartition(".")[0])
            if factor:
                array = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))

    derived = half.derive(edited(float_network, amplify), half.extreme_frames(SIZE))
    assert any(entry.kept for entry in derived.ranges if entry.layer == "layer1.0.conv1")
    assert serialise(rtx, RTX, Plan(derived.data, SIZE, 1, "sm89")).engine


def test_progress_is_told_while_it_builds(rtx: Any, network: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_builder, "_TICK_S", 0.001)
    lines: list[str] = []
    serialise(rtx, RTX, Plan(network, SIZE, 1, "sm89"), lines.append)
    assert all(line.startswith(f"building with TensorRT-RTX {rtx.__version__}: ") for line in lines)
    assert any("/" in line.partition(": ")[2] for line in lines), lines


def test_ctrl_c_stops_the_build(rtx: Any, network: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_builder, "_TICK_S", 0.001)

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        serialise(rtx, RTX, Plan(network, SIZE, 1, "sm89"), interrupt)


# The gate is able to fail: the real builder's real refusals.


def transpose_first(model: onnx.ModelProto) -> None:
    cast, transpose, centred = model.graph.node[:3]
    cast.input[0], transpose.input[0], centred.input[0] = "planes", "frames", "pixels"
    nodes = [transpose, cast, *model.graph.node[2:]]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def mix_types(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name == "layer1.0.conv1.weight.half":
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def unknown_operator(model: onnx.ModelProto) -> None:
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Reluu"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [(transpose_first, "UINT8|UInt8"), (mix_types, "[Tt]ype|Half|Float"), (unknown_operator, "not found")],
)
def test_a_network_that_the_builder_refuses(
    rtx: Any, network: bytes, edit: Callable[[onnx.ModelProto], None], reason: str
) -> None:
    title = rf"TensorRT-RTX {rtx.__version__} (refuses|cannot build) the network: .*({reason})"
    with pytest.raises(EngineError, match=title):
        serialise(rtx, RTX, Plan(edited(network, edit), SIZE, 1, "sm89"))


def test_turing_is_refused(rtx: Any, network: bytes) -> None:
    with pytest.raises(EngineError, match=r"cannot build the network: .*SM75.*FP32 GEMM is not supported"):
        serialise(rtx, RTX, Plan(network, SIZE, 1, "sm75"))


def test_bytes_that_are_no_network_are_refused(rtx: Any) -> None:
    with pytest.raises(EngineError, match=r"TensorRT-RTX .* refuses the network: "):
        serialise(rtx, RTX, Plan(b"no network", SIZE, 1, "sm89"))


def test_a_frame_of_another_size_is_refused(rtx: Any, network: bytes) -> None:
    with pytest.raises(EngineError, match=r"cannot build the network: .*frames"):
        serialise(rtx, RTX, Plan(network, 2 * SIZE, 1, "sm89"))


def test_an_unknown_target_is_refused_with_the_known_ones(rtx: Any, network: bytes) -> None:
    with pytest.raises(UsageError, match=r"no target 'sm90'; this library builds for sm75, sm80, sm86, sm89, sm120"):
        serialise(rtx, RTX, Plan(network, SIZE, 1, "sm90"))


# Versions that cannot run here, by their recorded names.


@pytest.fixture(params=sorted(recorded_versions()))
def recorded(request: pytest.FixtureRequest) -> RecordedLibrary:
    library = RecordedLibrary(request.param)
    library.add_layer("CONVOLUTION", "float16")
    library.add_layer("CONVOLUTION", "float32")
    library.add_layer("SHUFFLE", "float32")
    return library


def built_with(library: RecordedLibrary) -> tensorrt_builder.Built:
    return serialise(library, FLAVOURS["tensorrt"], Plan(b"network", SIZE, 4))


def test_each_version_has_the_names_that_are_used(recorded: RecordedLibrary) -> None:
    built = built_with(recorded)
    assert (built.engine, built.timings) == (RecordedLibrary.plan, b"timings")
    assert recorded.called("parse") == [(b"network",)]
    shapes = [(frames, SIZE, SIZE, 3) for frames in (1, 4, 4)]
    assert recorded.called("set_shape") == [("frames", *shapes)]
    assert recorded.called("set_memory_pool_limit") == [(recorded.table["MemoryPoolType"]["WORKSPACE"], 1 << 30)]
    assert (recorded.table["BuilderFlag"]["TF32"],) in recorded.called("clear_flag")


@pytest.mark.parametrize(
    ("version", "flags"), [("8.6.1", 1 << 0), ("10.3.0", 1 << 1), ("10.16.1", 1 << 1), ("11.4.0", 1 << 0)]
)
def test_a_network_is_created_as_each_version_wants_it(version: str, flags: int) -> None:
    """EXPLICIT_BATCH is 0 in 8.6; STRONGLY_TYPED is 1 in 10 and 0 in 11."""
    library = RecordedLibrary(version)
    built_with(library)
    assert library.called("create_network") == [(flags,)]
    assert build_options(library)[0] == ("fp16-flag" if version == "8.6.1" else "strongly-typed")


def test_timings_of_an_earlier_build_are_taken(recorded: RecordedLibrary) -> None:
    built = serialise(recorded, FLAVOURS["tensorrt"], Plan(b"network", SIZE, 4, timings=b"earlier"))
    assert recorded.called("create_timing_cache") == [(b"earlier",)]
    assert [ignore_mismatch for _, ignore_mismatch in recorded.called("set_timing_cache")] == [False]
    assert built.timings == b"timings"


def test_timings_that_the_library_refuses_are_left(recorded: RecordedLibrary) -> None:
    recorded.refuses = {b"foreign"}
    built = serialise(recorded, FLAVOURS["tensorrt"], Plan(b"network", SIZE, 4, timings=b"foreign"))
    assert recorded.called("create_timing_cache") == [(b"foreign",), (b"",)]
    assert built.timings == b"timings"


def test_only_8_6_sets_precisions_and_only_where_float32_is_meant(recorded: RecordedLibrary) -> None:
    built_with(recorded)
    flags = recorded.table["BuilderFlag"]
    if recorded.__version__ == "8.6.1":
        assert recorded.called("set_flag") == [(flags["FP16"],), (flags["OBEY_PRECISION_CONSTRAINTS"],)]
        assert recorded.called("precision") == [("float32",)]
        assert recorded.called("set_output_type") == [(0, "float32")]
    else:
        assert not {"set_flag", "precision", "set_output_type"} & {name for _, name, _ in recorded.steps}


def test_a_monitor_is_set_where_there_is_one(recorded: RecordedLibrary) -> None:
    built_with(recorded)
    assert len(recorded.called("progress_monitor")) == ("IProgressMonitor" in recorded.table)


def test_tensorrt_has_no_targets(recorded: RecordedLibrary) -> None:
    assert target_names(recorded) == []
    with pytest.raises(UsageError, match="builds for this GPU alone"):
        serialise(recorded, FLAVOURS["tensorrt"], Plan(b"network", SIZE, 1, "sm89"))


def test_a_recorded_library_refuses_what_its_version_lacks() -> None:
    """The stand-in can fail: TensorRT 11 has neither the FP16 flag nor an explicit batch."""
    library = RecordedLibrary("11.4.0")
    with pytest.raises(AttributeError):
        _ = library.BuilderFlag.FP16
    with pytest.raises(AttributeError):
        _ = library.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    config = library.Builder(None).create_builder_config()
    with pytest.raises(AttributeError, match="IBuilderConfig has no max_workspace_size"):
        config.max_workspace_size = 1


def test_the_real_library_has_every_name_of_the_recorded_ones_that_is_used(rtx: Any, network: bytes) -> None:
    """What the recorded libraries were asked for on 11.4 exists in TensorRT-RTX, whose build is real."""
    library = RecordedLibrary("11.4.0")
    built_with(library)
    table = read_table(rtx)
    assert {(kind, name) for kind, name, _ in library.steps} <= {
        (kind, name) for kind, names in table.items() for name in names
    }


def test_no_flag_is_spelt_as_a_number() -> None:
    tree = ast.parse(inspect.getsource(tensorrt_builder))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    flags = [call for call in calls if call.func.attr in ("set_flag", "clear_flag", "create_network")]
    assert len(flags) >= 4
    assert not any(isinstance(argument, ast.Constant) for call in flags for argument in call.args)


def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match=r"TensorRT-RTX cannot be imported here .*pip install 'edge-inspect\[rtx\]'"):
        load_library(RTX)
