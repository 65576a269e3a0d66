"""The benchmark of the network alone: real processes, few frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_fps
from benchmarks.bench_fps import Contender, Done, Plan, Process, Record, Turn, main, paper_line, report, take_turn
from benchmarks.disturbance import Disturbance
from benchmarks.paper_graph import PaperGraph
from engines.backbones import BACKBONES
from engines.backends.onnxruntime import onnxruntime
from engines.bundle import Bundle
from engines.errors import EngineError
from engines.export import build_model
from engines.probe import Probe
from engines.registry import BackendStatus
from trainer.weights import find_weights

TINY = Plan(turns=2, seconds=0.01, least=2, batches=(1,))


def test_the_yardstick_computes_what_the_engines_compute() -> None:
    graph = PaperGraph("resnet18")
    weights = find_weights("resnet18", "random", seed=0).arrays
    model = build_model(BACKBONES["resnet18"], weights, graph._head.to_head(), graph.input_size)
    frames = np.random.default_rng(1).integers(0, 256, (2, graph.input_size, graph.input_size, 3), np.uint8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    expected = session.run(["scores", "maps", "embeddings"], {"frames": frames})
    found = graph.infer(frames)
    for name, array in zip(("scores", "maps", "embeddings"), expected, strict=True):
        np.testing.assert_allclose(getattr(found, name), array, atol=1e-4 * np.abs(array).max())


def test_every_engine_is_compared_with_the_yardstick_of_the_same_turns(
    uncalibrated_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [
        Contender("resnet18", name, "f32", 1, count) for name, count in ((bench_fps.TORCH, 1), ("onnxruntime", 2))
    ]
    missing = Contender("resnet18", "onnxruntime", "int8", 1, 1)
    monkeypatch.setattr(bench_fps, "contenders", lambda *_: [*chosen, missing])
    rows = bench_fps.measure(uncalibrated_bundle, TINY)
    assert [row["engine"] for row in rows] == [bench_fps.TORCH, "onnxruntime"]
    keys = "backbone engine precision batch in_flight fps p50_ms p95_ms p99_ms rss_mib ratio_to_torch_eager_f32 spread"
    for row in rows:
        assert set(keys.split()) <= set(row)
        assert row["turns"] == 2
        assert row["fps"] > 0
        assert row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["rss_mib"] > 20
    assert rows[0]["ratio_to_torch_eager_f32"] == 1.0
    assert "onnxruntime" in report(rows)


def test_the_engines_process_holds_no_pytorch(uncalibrated_bundle: Bundle) -> None:
    with Process(Contender("resnet18", "onnxruntime", "f32", 1, 1), uncalibrated_bundle.path) as process:
        process.wait_until_ready()
        assert "libtorch" not in Path(f"/proc/{process._process.pid}/maps").read_text()


def test_a_contender_that_cannot_run_says_why(uncalibrated_bundle: Bundle) -> None:
    process = Process(Contender("resnet18", "onnxruntime", "bf16", 1, 1), uncalibrated_bundle.path)
    with process, pytest.raises(EngineError, match="asked for bf16"):
        process.wait_until_ready()
    assert process._process.returncode is not None


@pytest.mark.parametrize(("in_flight", "batch"), [(1, 1), (3, 1), (2, 8)])
def test_a_turn_counts_every_frame_that_it_began_within_it(in_flight: int, batch: int) -> None:
    begun = []

    def submit() -> Done:
        begun.append(None)
        return Done(None)

    turn = take_turn(submit, Contender("resnet18", "none", "f32", batch, in_flight), seconds=0.0, least=7)
    assert len(turn.latencies_ms) == 7
    assert turn.frames == 7 * batch
    assert len(begun) == 7 + in_flight - 1


def test_ratios_are_taken_turn_by_turn() -> None:
    def record(engine: str, rates: list[float]) -> Record:
        turns = [Turn([1e3 / rate], 1, 1 / rate, 100.0) for rate in rates]
        return Record(Contender("resnet18", engine, "f32", 1, 1), turns, [Disturbance() for _ in rates])

    # The machine is half as fast in the second turn; the ratio does not care.
    row = record("openvino", [40.0, 20.0, 44.0]).row(record(bench_fps.TORCH, [10.0, 5.0, 10.0]))
    assert row["ratio_to_torch_eager_f32"] == 4.0
    assert row["spread"] == {"fps": [20.0, 44.0], "ratio_to_torch_eager_f32": [4.0, 4.4]}
    assert row["disturbed"] == ""


def test_the_papers_figure_is_for_its_own_backbone() -> None:
    row = {"backbone": "wide_resnet50_2", "batch": 1, "fps": 154.0, "engine": "e", "precision": "int8", "in_flight": 2}
    assert "2.00 times that here, 154 frames/s with e int8, 2 in flight" in paper_line([row])
    assert "was not measured" in paper_line([{**row, "backbone": "resnet18"}])


def test_it_writes_json_with_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    wanted = Contender("resnet18", "onnxruntime", "int8", 1, 1)
    monkeypatch.setattr(bench_fps, "QUICK", TINY)
    monkeypatch.setattr(
        bench_fps, "contenders", lambda *_: [Contender("resnet18", bench_fps.TORCH, "f32", 1, 1), wanted]
    )
    path = tmp_path / "fps.json"
    assert main(["--quick", "--backbone", "resnet18", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert [row["precision"] for row in found["rows"]] == ["f32", "int8"]
    assert {"cpu", "gpu", "cores", "versions", "commit"} <= set(found["machine"])
    assert "times torch eager f32" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_found_out_first(tmp_path: Path, capsys) -> None:
    assert main(["--quick", "--json", str(tmp_path / "none" / "fps.json")]) == 2
    assert "create the folder first" in capsys.readouterr().err


def test_operations_are_counted_as_they_are_done() -> None:
    from benchmarks.floor import operations

    weights = find_weights("resnet18", "random", seed=0).arrays
    head = PaperGraph("resnet18")._head.to_head()
    small, large = (
        operations(build_model(BACKBONES["resnet18"], weights, head, size).SerializeToString()) for size in (64, 128)
    )
    assert large == pytest.approx(4 * small, rel=0.05)
    # ResNet-18 to level 3 takes 2.8 GFLOP of its 3.6 at 224 pixels (level 4 and the classifier have the rest).
    assert 0.8e9 < large < 1.2e9


def test_the_ways_through_a_gpu_have_rows_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = BackendStatus("tensorrt", Probe("GPU", {}, ("f16",), "f16", ""))
    monkeypatch.setattr(bench_fps, "available_backends", lambda: [usable, BackendStatus("tensorrt-rtx", None, "none")])
    monkeypatch.setattr(bench_fps, "find_gpus", lambda: [None])
    found = list(bench_fps.contenders("resnet18", (1, 8), 2))
    assert len({str(each) for each in found}) == len(found)
    assert found[0].engine == bench_fps.TORCH
    ways = {each.way for each in found if each.engine == "tensorrt"}
    assert ways == {"", bench_fps.NO_GRAPH, bench_fps.CPU_PREPROCESSING, bench_fps.GPU_PREPROCESSING}
    assert {each.engine for each in found} == {bench_fps.TORCH, bench_fps.TORCH_GRAPH, bench_fps.BLUR, "tensorrt"}


@pytest.mark.skipif(bool(bench_fps.find_gpus()), reason="this machine has a GPU")
@pytest.mark.parametrize("engine", [bench_fps.TORCH_GRAPH, bench_fps.BLUR, "tensorrt"])
def test_a_way_through_a_gpu_that_is_not_there_says_so(uncalibrated_bundle: Bundle, engine: str) -> None:
    process = Process(Contender("resnet18", engine, "f16", 1, 1), uncalibrated_bundle.path)
    with process, pytest.raises(EngineError, match="GPU"):
        process.wait_until_ready()
